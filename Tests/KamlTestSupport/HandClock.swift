import Synchronization
package import System

/// A clock that stands still until it is turned. What it tells people can be set besides, as a machine's clock is.
package final class HandClock: Clock {
    private let nanoseconds: Atomic<UInt64>
    private let wallOffset = Atomic<Int64>(0)

    /// Seconds since 1970.
    package init(seconds: UInt64 = 1_700_000_000) { nanoseconds = Atomic(seconds * 1_000_000_000) }

    package func now() -> Timestamp {
        let time = monotonicNanoseconds()
        return Timestamp(
            seconds: Int64(time / 1_000_000_000) + wallOffset.load(ordering: .relaxed),
            nanoseconds: UInt32(time % 1_000_000_000))
    }

    /// Sets the wall clock forward, or back, while no time passes.
    package func stepWall(seconds: Int64) { wallOffset.wrappingAdd(seconds, ordering: .relaxed) }

    package func monotonicNanoseconds() -> UInt64 { nanoseconds.load(ordering: .relaxed) }

    package func advance(_ duration: UInt64) { nanoseconds.wrappingAdd(duration, ordering: .relaxed) }
    package func advance(seconds: UInt64) { advance(seconds * 1_000_000_000) }
}
