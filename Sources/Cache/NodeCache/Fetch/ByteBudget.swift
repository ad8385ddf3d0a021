/// The bytes that queued fetches together may hold in memory, as they are charged before they run (FetchCharge). A single
/// one may exceed it when it is alone. No waiting in it: FetchQueue keeps the order.
struct ByteBudget {
    let limit: Int
    /// What may be held for reading ahead: some is always left for readers.
    let aheadLimit: Int
    private(set) var used = 0
    /// The most that was ever held at one time.
    private(set) var peak = 0

    init(limit: Int) {
        self.limit = max(1, limit)
        aheadLimit = max(1, limit / 4 * 3)
    }

    /// Takes bytes, if they are to be had. One that is alone gets more than the limit: it would wait for ever.
    mutating func take(_ bytes: Int, isAhead: Bool) -> Bool {
        let bytes = max(0, bytes)
        guard used == 0 || used + bytes <= (isAhead ? aheadLimit : limit) else { return false }
        used += bytes
        peak = max(peak, used)
        return true
    }

    mutating func giveBack(_ bytes: Int) { used -= max(0, bytes) }
}
