/// One dataset's entries in the cache, and which of them is to go first.
struct TenantQueues<ID: Hashable & Sendable>: Sendable {
    private var entries = S3FIFO<ID>()
    private var duel = RuleDuel<ID>()
    private var ages = AgeLine<ID>()
    private var now: UInt64 = 0
    /// Room for so many entries, as far as the dataset has come up against its limits.
    private var capacity = Int.max
    /// Uses of entries that were known and are not here, or not all of them, each of which may cost another dataset an
    /// entry.
    private(set) var returns = 0

    var bytes: Int { entries.weight }
    var count: Int { entries.count }
    var ids: [ID] { entries.ids }
    var rule: RuleDuel<ID>.Rule { duel.rule }

    func contains(_ id: ID) -> Bool { entries.contains(id) }
    func weight(of id: ID) -> Int? { entries.weight(of: id) }

    /// Notes a use, of an entry or of what could be one. Uses close together count as one: a reader goes through a
    /// container's files for a while.
    mutating func use(_ id: ID, wasRefused: Bool = false) {
        let isKnown = duel.stable.known.lastUse(id) != nil
        if let last = ages.lastUse(id), now - last <= UInt64(min(8, ages.count / 64)) { return }
        now += 1
        ages.use(id, at: now)
        // As long as the duel remembers names.
        if let oldest = ages.oldest(), now - oldest.time > duel.stable.patience, !contains(oldest.id) {
            ages.remove(oldest.id)
        }
        let isHit = entries.use(id)
        duel.use(id, capacity: capacity, isHit: isHit)
        if !isHit || wasRefused, isKnown { returns = min(returns + 1, 1 << 20) }
    }

    /// There was no room for more.
    mutating func metLimit() { capacity = max(1, entries.count) }

    /// Sets what an entry weighs; enters it when it is new.
    mutating func set(_ id: ID, weight: Int) {
        if entries.contains(id) { return entries.resize(id, weight: weight) }
        entries.insert(id, weight: weight)
        if ages.lastUse(id) == nil { ages.use(id, at: now) }
        if capacity != .max { capacity = max(capacity, entries.count) }
    }

    mutating func remove(_ id: ID) { entries.remove(id) }

    mutating func spendReturn() { returns = max(0, returns - 1) }

    /// Takes out an entry that may go: any of them when it is `forced`, else one that the dataset itself would give for
    /// a newcomer. Nil when there is none.
    mutating func evict(forced: Bool, _ mayGo: (ID) -> Bool) -> ID? {
        if forced || duel.rule == .turnover { return entries.evict(mayGo) }
        while let oldest = ages.oldest(), now - oldest.time > duel.stable.patience {
            ages.remove(oldest.id)
            guard entries.contains(oldest.id) else { continue }
            guard mayGo(oldest.id) else {
                ages.use(oldest.id, at: now)
                return nil
            }
            entries.remove(oldest.id)
            return oldest.id
        }
        return nil
    }
}
