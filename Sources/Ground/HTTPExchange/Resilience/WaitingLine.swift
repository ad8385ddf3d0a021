/// First come, first served.
struct WaitingLine {
    private var waiters: [UInt64] = []
    private var start = 0

    var isEmpty: Bool { start == waiters.count }
    var first: UInt64? { isEmpty ? nil : waiters[start] }

    mutating func append(_ waiter: UInt64) { waiters.append(waiter) }

    mutating func removeFirst() -> UInt64? {
        guard let first else { return nil }
        start += 1
        if start == waiters.count {
            waiters.removeAll(keepingCapacity: true)
            start = 0
        } else if start >= 1024 {
            waiters.removeFirst(start)
            start = 0
        }
        return first
    }

    /// Whether it was there.
    mutating func remove(_ waiter: UInt64) -> Bool {
        guard let index = waiters[start...].firstIndex(of: waiter) else { return false }
        waiters.remove(at: index)
        return true
    }
}
