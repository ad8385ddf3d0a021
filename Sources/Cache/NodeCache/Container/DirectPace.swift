import System

/// Whether writing past the page cache keeps up: a slow disk would hold up the readers whose bytes it takes, and would be
/// slow to give them to the next ones.
///
/// Judged by the fastest write of each sample: the others may have waited for a processor, or for each other.
struct DirectPace {
    /// Bytes between two judgements.
    private static let sample = 32 << 20
    /// Bytes per nanosecond that a disk has to take.
    private static let needed = 0.5
    /// Nanoseconds until a slow disk is tried again.
    private static let pause: UInt64 = 30_000_000_000

    private var bytes = 0
    private var fastest = 0.0
    private var resumes: UInt64 = 0

    func allows(now: UInt64) -> Bool { now >= resumes }

    /// A write ended at `now`, after so many nanoseconds.
    mutating func wrote(_ count: Int, in duration: UInt64, now: UInt64) {
        bytes += count
        fastest = max(fastest, Double(count) / Double(max(1, duration)))
        guard bytes >= Self.sample else { return }
        if fastest < Self.needed { resumes = now &+ Self.pause }
        (bytes, fastest) = (0, 0)
    }
}
