/// Gives up on an answer that trickles: one that moves bytes, so that no stall is seen, at a small part of the rate that
/// other answers of the same origin have.
struct ThroughputGuard {
    private static let window: UInt64 = 2_000_000_000
    /// Less than this part of the usual rate is a trickle.
    private static let leastShare = 1.0 / 50

    /// Bytes a second; nil accepts every rate.
    private let least: Double?
    private var windowStart: UInt64
    private var windowBytes: UInt64 = 0

    init(usual: Double?, now: UInt64) {
        least = usual.map { $0 * Self.leastShare }
        windowStart = now
    }

    /// Bytes came. Whether the answer is still worth waiting for.
    mutating func moved(_ bytes: Int, now: UInt64) -> Bool {
        windowBytes += UInt64(bytes)
        guard let least, now >= windowStart + Self.window else { return true }
        let rate = Double(windowBytes) * 1e9 / Double(now - windowStart)
        windowStart = now
        windowBytes = 0
        return rate >= least
    }
}
