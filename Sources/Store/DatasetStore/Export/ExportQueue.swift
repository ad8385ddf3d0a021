import System

/// Files that wait to be written, a bounded number of them: whoever walks the manifest waits for the writers.
final class ExportQueue: Sendable {
    struct Job: Sendable {
        var directory: TargetDirectory
        var entry: ManifestEntry
        /// The name in the target, when it is not the entry's.
        var name: ByteString
    }

    private struct State {
        var jobs: [Job] = []
        var head = 0
        var isClosed = false
    }

    private let state = Monitor(State())
    private static let capacity = 1024

    /// False when the queue was closed, by an error of a writer.
    func add(_ job: Job) -> Bool {
        let isOpen = state.wait { state -> Bool? in
            if state.isClosed { return false }
            guard state.jobs.count - state.head < Self.capacity else { return nil }
            state.jobs.append(job)
            return true
        }
        state.wake()
        return isOpen
    }

    /// The next job; nil when the queue is closed and empty.
    func next() -> Job? {
        let job = state.wait { state -> Job?? in
            if state.head < state.jobs.count {
                let job = state.jobs[state.head]
                state.head += 1
                if state.head == state.jobs.count {
                    state.jobs.removeAll(keepingCapacity: true)
                    state.head = 0
                }
                return .some(job)
            }
            return state.isClosed ? .some(nil) : nil
        }
        state.wake()
        return job
    }

    /// No more jobs come. `discarding`: those that wait are dropped too.
    func close(discarding: Bool = false) {
        state.withLock { state in
            state.isClosed = true
            if discarding {
                state.jobs = []
                state.head = 0
            }
        }
        state.wake()
    }
}
