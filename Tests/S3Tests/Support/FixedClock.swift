import Synchronization
import System

/// A clock that a test sets.
final class FixedClock: Clock {
    private let time: Mutex<(seconds: Int64, monotonic: UInt64)>

    init(seconds: Int64) { time = Mutex((seconds, 0)) }

    func now() -> Timestamp { Timestamp(seconds: time.withLock { $0.seconds }, nanoseconds: 0) }
    func monotonicNanoseconds() -> UInt64 { time.withLock { $0.monotonic } }

    func advance(_ seconds: Int64) {
        time.withLock { time in
            time.seconds += seconds
            time.monotonic += UInt64(seconds) * 1_000_000_000
        }
    }
}
