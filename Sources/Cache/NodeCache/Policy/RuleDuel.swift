/// Which of two rules would serve a dataset's reads better: both are played on the real uses, in memory.
///
/// Epochs over more than the cache holds want nothing replaced; reads of which some come again sooner than others want
/// S3-FIFO. Nobody has to say which it is: the rule with more hits lately wins, and the stable one when they are
/// about even, since it writes nothing; but what is kept for good has to serve as well as what S3-FIFO would have.
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
    /// Turnover against the stable rule, and against what the cache really did.
    private var againstStable = Score()
    private var againstReal = Score()
    private var uses = 0

    /// Uses of which one side had a hit and the other one none.
    private struct Score: Sendable {
        var won = 0
        var lost = 0

        mutating func add(_ isHit: Bool, _ other: Bool) {
            if isHit && !other { won += 1 }
            if other && !isHit { lost += 1 }
        }

        /// Whether more were won than chance gives away, which is about the root of all. A higher bar would keep the stable
        /// rule where the two are as good, and would cost skewed reads hits.
        var isAhead: Bool { won > lost && (won - lost) * (won - lost) > 4 * (won + lost) }

        mutating func fade(by part: Int) {
            won -= won / part
            lost -= lost / part
        }
    }

    /// Plays one use, with room for `capacity` entries; whether it really was a hit.
    mutating func use(_ id: ID, capacity: Int, isHit: Bool) {
        let capacity = max(1, capacity)
        let turnoverHit = turnover.use(id)
        if !turnoverHit { turnover.insert(id, weight: 1) }
        while turnover.count > capacity, turnover.evict() != nil {}
        againstStable.add(turnoverHit, stable.use(id, capacity: capacity))
        againstReal.add(turnoverHit, isHit)
        uses += 1
        if uses >= min(max(32, capacity / 2), 1024) { decide() }
    }

    private mutating func decide() {
        if againstStable.isAhead {
            rule = .turnover
            // Its content is of another time: from here on it keeps what serves well now.
            stable.replace(with: turnover.inOrder)
            (againstStable, againstReal) = (Score(), Score())
        } else if againstReal.isAhead {
            rule = .turnover
        } else if againstStable.lost >= againstStable.won {
            rule = .stable
        }
        againstStable.fade(by: 8)
        // What is really there changes while it turns over: only the last uses tell.
        againstReal.fade(by: 4)
        uses = 0
    }
}
