/// How often mounts whose sessions broke are gone on with again: one that breaks at once every time is not tried for ever.
struct RetakeLimit {
    static let most = 5
    /// Nanoseconds in which so many are allowed.
    static let window: UInt64 = 600_000_000_000

    private var times: [UInt64] = []

    /// Whether now is one more time.
    mutating func allows(at now: UInt64) -> Bool {
        times.removeAll { now >= $0 && now - $0 >= Self.window }
        guard times.count < Self.most else { return false }
        times.append(now)
        return true
    }
}
