/// What reads from one origin usually take, and the deadlines that follow: a backend that answers in 5 ms is late after
/// a second, one that needs 2 s is not.
struct ReadTimes {
    /// Before so many answers, nothing is known.
    private static let enough: UInt64 = 20
    private static let second: UInt64 = 1_000_000_000

    private var firstBytes = LatencyHistogram()
    /// Recent bodies, and how long they took from the start of their requests: both fade slowly, so that long ones count
    /// for more than short ones.
    private var bodies = (bytes: 0.0, time: 0.0)

    /// What one read brings; nil before the first large one.
    var bytesPerSecond: Double? {
        bodies.time > 0 ? bodies.bytes * Double(Self.second) / bodies.time : nil
    }

    /// `duration` from sending a request to the head of its answer, in nanoseconds.
    mutating func add(firstByte duration: UInt64) { firstBytes.add(duration) }

    /// A whole body, and the time since its request was sent: from its head alone, one that was buffered on the way would
    /// show a rate that no server has. Small ones say nothing of the rate.
    mutating func add(body bytes: UInt64, in duration: UInt64) {
        guard bytes >= 64 << 10, duration > 0 else { return }
        bodies = (bodies.bytes * 0.9 + Double(bytes), bodies.time * 0.9 + Double(duration))
    }

    /// Deadlines for a read: never longer than `given`, and twice as long for each attempt that failed before, so that
    /// a backend that became slow is waited for.
    func deadlines(_ given: HTTPDeadlines, attempt: Int) -> HTTPDeadlines {
        guard firstBytes.total >= Self.enough, let usual = firstBytes.quantile(0.99) else { return given }
        let factor = UInt64(1) << UInt64(min(attempt, 10))
        var deadlines = given
        deadlines.firstByte = min(given.firstByte, max(Self.second, 4 * usual) * factor)
        deadlines.stall = min(given.stall, max(2 * Self.second, 8 * usual) * factor)
        return deadlines
    }

    /// When a second request for the same bytes is worth its cost: past what 95 % take. Nil while too little is known.
    var hedgeDelay: UInt64? {
        guard firstBytes.total >= 2 * Self.enough, let slow = firstBytes.quantile(0.95),
            let median = firstBytes.quantile(0.5)
        else { return nil }
        return max(slow, 2 * median, 20_000_000)
    }
}
