import System

/// A few threads for jobs that block, started when there is work, ended when there is none.
final class WorkThreads: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var threads = 0
    }

    private let name: String
    private let most: Int
    private let state = Monitor(State())

    init(name: String, most: Int) {
        self.name = name
        self.most = most
    }

    /// Callers bound how many they add: a session has one at a time.
    func add(_ job: @escaping @Sendable () -> Void) {
        let needsThread = state.withLock { state in
            state.jobs.append(job)
            guard state.threads < most else { return false }
            state.threads += 1
            return true
        }
        guard needsThread else { return }
        do throws(Errno) {
            try Thread(name: name) { [self] in run() }.detach()
        } catch {
            // The job is done late rather than not at all.
            run()
        }
    }

    private func run() {
        while let job = state.withLock({ state -> (@Sendable () -> Void)? in
            if state.jobs.isEmpty {
                state.threads -= 1
                return nil
            }
            return state.jobs.removeFirst()
        }) {
            job()
        }
    }
}
