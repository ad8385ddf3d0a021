import System

/// Whether writing past the page cache keeps up: a slow disk would hold up the readers whose bytes it takes, and would
/// have to be read again for the next ones.
struct DirectPace {
    /// Bytes between two judgements.
    private static let sample = 64 << 20
    /// Bytes per nanosecond that a disk has to take.
    private static let needed = 0.1
    /// Nanoseconds until a slow disk is tried again.
    private static let pause: UInt64 = 30_000_000_000

    private var inFlight = 0
    private var busySince: UInt64 = 0
    private var busy: UInt64 = 0
    private var bytes = 0
    private var resumes: UInt64 = 0

    func allows(now: UInt64) -> Bool { now >= resumes }

    mutating func begin(now: UInt64) {
        if inFlight == 0 { busySince = now }
        inFlight += 1
    }

    mutating func end(bytes count: Int, now: UInt64) {
        inFlight -= 1
        bytes += count
        if inFlight == 0 || bytes >= Self.sample {
            busy += now &- busySince
            busySince = now
        }
        guard bytes >= Self.sample else { return }
        if Double(bytes) < Self.needed * Double(busy) { resumes = now &+ Self.pause }
        (bytes, busy) = (0, 0)
    }
}

/// The pace of a cache's disk, for all threads.
final class DirectPaceKeeper: Sendable {
    private let pace = Monitor(DirectPace())

    func allows(now: UInt64) -> Bool { pace.withLock { $0.allows(now: now) } }
    func begin(now: UInt64) { pace.withLock { $0.begin(now: now) } }
    func end(bytes: Int, now: UInt64) { pace.withLock { $0.end(bytes: bytes, now: now) } }
}
