/// Which of two rules would serve a dataset's reads better: both are played on the real uses, in memory.
///
/// Epochs over more than the cache holds want nothing replaced; reads of which some come again sooner than others want
/// S3-FIFO. Nobody has to say which it is: the rule with more hits lately wins, and the stable one when they are
/// about even, since it writes nothing.
struct RuleDuel<ID: Hashable & Sendable>: Sendable {
    enum Rule: Hashable, Sendable {
        /// What is there stays while it may be needed; newcomers are read through.
        case stable
        /// Newcomers are taken in, and others go for them, in the order of S3-FIFO.
        case turnover
    }

    private(set) var rule = Rule.stable
    private var turnover = S3FIFO<ID>()
    private(set) var stable = StableSet<ID>()
    private var turnoverHits = 0
    private var stableHits = 0
    private var uses = 0
    /// So much better than the stable rule, in sixteenths of its hits, has the other one to be.
    private static var margin: Int { 1 }

    /// Plays one use, with room for `capacity` entries.
    mutating func use(_ id: ID, capacity: Int) {
        let capacity = max(1, capacity)
        if turnover.use(id) {
            turnoverHits += 1
        } else {
            turnover.insert(id, weight: 1)
        }
        while turnover.count > capacity, turnover.evict() != nil {}
        if stable.use(id, capacity: capacity) { stableHits += 1 }
        uses += 1
        if uses >= min(max(32, capacity / 2), 1024) { decide() }
    }

    private mutating func decide() {
        let lead = turnoverHits - stableHits
        // Chance alone makes a difference of about the root of the hits.
        let isClear = lead > stableHits * Self.margin / 16 + 2 && lead * lead > 4 * (turnoverHits + stableHits)
        if isClear {
            rule = .turnover
            // Its content is of another time: from here on it keeps what serves well now.
            stable.replace(with: turnover.ids)
            (turnoverHits, stableHits) = (0, 0)
        } else if lead <= 0 {
            rule = .stable
        }
        turnoverHits -= turnoverHits / 4
        stableHits -= stableHits / 4
        uses = 0
    }
}
