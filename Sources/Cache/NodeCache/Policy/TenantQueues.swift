/// One dataset's entries in the cache, and which of them is to go first.
struct TenantQueues<ID: Hashable & Sendable>: Sendable {
    private var entries = S3FIFO<ID>()
    private var duel = RuleDuel<ID>()
    private var ages = AgeLine<ID>()
    /// What entries would weigh with all that belongs to them.
    private var fullWeights: [ID: Int] = [:]
    private var fullWeight = 0
    private var now: UInt64 = 0
    /// Uses that found only a part of their entry, as far as they add up to less than a hit.
    private var partialHits = 0.0
    /// Room for so many full entries, as far as the dataset has come up against its limits.
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
    func fullWeight(of id: ID) -> Int? { fullWeights[id] }

    /// Notes a use, of an entry or of what could be one. Uses close together count as one: a reader goes through a
    /// container's files for a while.
    mutating func use(_ id: ID, wasRefused: Bool = false) {
        let last = duel.stable.known.lastUse(id)
        if let last, now - last <= UInt64(min(8, duel.stable.known.count / 64)) { return }
        now += 1
        ages.use(id, at: now)
        // As long as the duel remembers names.
        if let oldest = ages.oldest(), now - oldest.time > duel.stable.patience, !contains(oldest.id) {
            ages.remove(oldest.id)
        }
        let isThere = entries.use(id)
        duel.use(id, capacity: capacity, isHit: isThere && (!wasRefused || isPartialHit(id)))
        if !isThere || wasRefused, last != nil { returns = min(returns + 1, 1 << 20) }
    }

    /// Of uses of an entry half of which is there, every second one counts as a hit.
    private mutating func isPartialHit(_ id: ID) -> Bool {
        guard let weight = entries.weight(of: id), let full = fullWeights[id], full > 0 else { return false }
        partialHits += min(1, Double(weight) / Double(full))
        guard partialHits >= 1 else { return false }
        partialHits -= 1
        return true
    }

    /// Full entries that what is there amounts to.
    private var fullEntries: Int {
        guard fullWeight > 0 else { return max(1, entries.count) }
        return max(1, Int(Double(entries.weight) * Double(entries.count) / Double(fullWeight)))
    }

    /// There was no room for more.
    mutating func metLimit() { capacity = fullEntries }

    /// Sets what an entry weighs, and what it would weigh with all that belongs to it; enters it when it is new.
    mutating func set(_ id: ID, weight: Int, full: Int? = nil) {
        let full = max(weight, full ?? weight)
        fullWeight += full - (fullWeights.updateValue(full, forKey: id) ?? 0)
        if entries.contains(id) {
            entries.resize(id, weight: weight)
        } else {
            entries.insert(id, weight: weight)
            if ages.lastUse(id) == nil { ages.use(id, at: now) }
        }
        if capacity != .max { capacity = max(capacity, fullEntries) }
    }

    mutating func remove(_ id: ID) {
        entries.remove(id)
        forget(id)
    }

    private mutating func forget(_ id: ID) { fullWeight -= fullWeights.removeValue(forKey: id) ?? 0 }

    mutating func spendReturn() { returns = max(0, returns - 1) }

    /// Takes out an entry that may go: any of them when it is `forced`, else one that the dataset itself would give for
    /// a newcomer. Nil when there is none.
    mutating func evict(forced: Bool, _ mayGo: (ID) -> Bool) -> ID? {
        if forced || duel.rule == .turnover {
            guard let id = entries.evict(mayGo) else { return nil }
            forget(id)
            return id
        }
        while let oldest = ages.oldest(), now - oldest.time > duel.stable.patience {
            ages.remove(oldest.id)
            guard entries.contains(oldest.id) else { continue }
            guard mayGo(oldest.id) else {
                ages.use(oldest.id, at: now)
                return nil
            }
            remove(oldest.id)
            return oldest.id
        }
        return nil
    }
}
