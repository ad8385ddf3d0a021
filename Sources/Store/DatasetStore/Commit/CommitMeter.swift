import Synchronization
import System

/// Counts what a commit has done and tells about it ten times a second.
final class CommitMeter: Sendable {
    private static let interval: UInt64 = 100_000_000

    private let report: (@Sendable (CommitProgress) -> Void)?
    private let clock: any Clock
    private let state: Mutex<CommitProgress>
    private let next = Atomic<UInt64>(0)

    init(_ options: CommitOptions) {
        report = options.progress
        clock = options.clock
        state = Mutex(CommitProgress(phase: .scanning))
    }

    func begin(_ phase: CommitProgress.Phase, _ change: (inout CommitProgress) -> Void = { _ in }) {
        state.withLock { state in
            state.phase = phase
            change(&state)
        }
        tell()
    }

    func add(files: UInt64, bytes: UInt64) {
        state.withLock { state in
            state.files += files
            state.bytes += bytes
        }
    }

    /// Reports if the last time is long enough ago. Cheap when nobody listens.
    func tick() {
        guard report != nil else { return }
        let now = clock.monotonicNanoseconds()
        let due = next.load(ordering: .relaxed)
        guard now >= due else { return }
        let (won, _) = next.compareExchange(expected: due, desired: now + Self.interval, ordering: .relaxed)
        if won { tell() }
    }

    /// Under the lock, so that calls come one at a time and in order.
    private func tell() {
        guard let report else { return }
        state.withLock { report($0) }
    }
}
