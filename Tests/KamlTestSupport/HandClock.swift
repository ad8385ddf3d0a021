import Synchronization
package import System

/// A clock that stands still until it is turned.
package final class HandClock: Clock {
    private let nanoseconds: Atomic<UInt64>

    /// Seconds since 1970.
    package init(seconds: UInt64 = 1_700_000_000) { nanoseconds = Atomic(seconds * 1_000_000_000) }

    package func now() -> Timestamp {
        let time = monotonicNanoseconds()
        return Timestamp(seconds: Int64(time / 1_000_000_000), nanoseconds: UInt32(time % 1_000_000_000))
    }

    package func monotonicNanoseconds() -> UInt64 { nanoseconds.load(ordering: .relaxed) }

    package func advance(_ duration: UInt64) { nanoseconds.wrappingAdd(duration, ordering: .relaxed) }
    package func advance(seconds: UInt64) { advance(seconds * 1_000_000_000) }
}
