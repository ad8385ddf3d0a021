/// Which entries of a cache that several datasets share go, and when: decisions only, no I/O.
///
/// - An entry goes for its own dataset's newcomers only as the dataset's own reads justify it (`RuleDuel`): under epochs
///   over more than there is room for, nothing that the epoch still needs.
/// - A dataset takes from another one what makes their shares even, and only for what it came back to read; what is read
///   once takes at most a tenth. So neither a scan nor a newcomer costs the others more than that.
/// - Datasets that nobody read for a while give first.
/// - Over the limit, because it was lowered or others filled the disk, somebody has to give: the largest does.
struct CachePolicy<ID: Hashable & Sendable>: Sendable {
    typealias Tenant = UInt32

    /// How much room is to be made.
    struct Demand {
        /// Bytes and entries over the limits.
        var requiredBytes = 0
        var requiredEntries = 0
        /// Bytes that newcomers of `hungry` datasets would like.
        var wantedBytes = 0
        var hungry: Set<Tenant> = []
    }

    struct Victim: Hashable, Sendable {
        var id: ID
        var tenant: Tenant
        var bytes: Int
    }

    private struct Share {
        var queues = TenantQueues<ID>()
        var lastUse: UInt64
        /// When its newcomers last found no room.
        var lastHunger: UInt64?
    }

    private var shares: [Tenant: Share] = [:]
    private var owners: [ID: Tenant] = [:]
    /// Nanoseconds without a use after which a dataset counts as left.
    var idleTime: UInt64 = 600_000_000_000
    /// Nanoseconds for which a dataset that found no room counts as hungry: room that was made for it is not to be
    /// taken by others before it comes for it.
    private static var hungerTime: UInt64 { 2_000_000_000 }

    var count: Int { owners.count }
    var bytes: Int { shares.values.reduce(0) { $0 + $1.queues.bytes } }

    func bytes(of tenant: Tenant) -> Int { shares[tenant]?.queues.bytes ?? 0 }
    func rule(of tenant: Tenant) -> RuleDuel<ID>.Rule { shares[tenant]?.queues.rule ?? .stable }
    func contains(_ id: ID) -> Bool { owners[id] != nil }
    func weight(of id: ID) -> Int? { owners[id].flatMap { shares[$0]?.queues.weight(of: id) } }
    func owner(of id: ID) -> Tenant? { owners[id] }
    var ids: [ID] { Array(owners.keys) }

    /// Notes that a dataset used an entry, or something that is not in the cache, and whether there was no room for some of
    /// it. `now` in nanoseconds.
    mutating func use(_ id: ID, of tenant: Tenant, wasRefused: Bool = false, at now: UInt64) {
        if let owner = owners[id], owner != tenant, isIdle(owner, now), let weight = weight(of: id) {
            // Its dataset is gone, or was not known when it was found on the disk.
            let full = shares[owner]?.queues.fullWeight(of: id)
            remove(id)
            set(id, bytes: weight, full: full, of: tenant, at: now)
        }
        touch(owners[id] ?? tenant, now)
        shares[owners[id] ?? tenant]?.queues.use(id, wasRefused: wasRefused)
        touch(tenant, now)
    }

    /// Sets what an entry takes up, and what it would take up when full; enters it when it is new.
    mutating func set(_ id: ID, bytes: Int, full: Int? = nil, of tenant: Tenant, at now: UInt64) {
        let owner = owners[id] ?? tenant
        owners[id] = owner
        if shares[owner] == nil { shares[owner] = Share(lastUse: now) }
        shares[owner]?.queues.set(id, weight: bytes, full: full)
    }

    mutating func remove(_ id: ID) {
        guard let owner = owners.removeValue(forKey: id) else { return }
        shares[owner]?.queues.remove(id)
    }

    /// Takes out what is to go for a demand, as far as it may. Whoever cannot remove one sets it again.
    mutating func victims(_ demand: Demand, at now: UInt64, mayGo: (ID) -> Bool) -> [Victim] {
        var victims: [Victim] = []
        var bytes = 0
        for tenant in demand.hungry {
            shares[tenant]?.queues.metLimit()
            shares[tenant]?.lastHunger = now
        }
        // Bounded by the entries, each of which goes at most once.
        while bytes < demand.requiredBytes || victims.count < demand.requiredEntries {
            guard let victim = forced(now, mayGo) else { break }
            bytes += victim.bytes
            victims.append(victim)
        }
        while bytes < demand.wantedBytes, let victim = volunteer(demand, now, mayGo) {
            bytes += victim.bytes
            victims.append(victim)
        }
        return victims
    }

    /// An entry that goes because something has to: of the dataset that can best do without, or of any.
    private mutating func forced(_ now: UInt64, _ mayGo: (ID) -> Bool) -> Victim? {
        let first = idle(now) ?? largest(besides: nil)
        for giver in [first].compactMap(\.self) + shares.keys.sorted() {
            if let victim = take(from: giver, forced: true, mayGo) { return victim }
        }
        return nil
    }

    /// An entry that goes for a newcomer of a hungry dataset.
    private mutating func volunteer(_ demand: Demand, _ now: UInt64, _ mayGo: (ID) -> Bool) -> Victim? {
        guard !demand.hungry.isEmpty else { return nil }
        if let left = idle(now), !demand.hungry.contains(left),
            let victim = take(from: left, forced: true, mayGo)
        {
            return victim
        }
        let total = self.bytes
        for tenant in demand.hungry.sorted(by: { (self.bytes(of: $0), $0) < (self.bytes(of: $1), $1) }) {
            let own = self.bytes(of: tenant)
            if let rich = largest(besides: tenant), self.bytes(of: rich) > own + demand.wantedBytes,
                mayTake(tenant, total)
            {
                let average = self.bytes(of: rich) / max(1, shares[rich]?.queues.count ?? 1)
                if let victim = take(from: rich, forced: true, mayGo) {
                    // Next to nothing is worth no return.
                    if victim.bytes >= average / 2 { shares[tenant]?.queues.spendReturn() }
                    return victim
                }
            }
            if let victim = take(from: tenant, forced: false, mayGo) { return victim }
        }
        return nil
    }

    /// Whether a dataset may have room that a larger one gives.
    private func mayTake(_ tenant: Tenant, _ total: Int) -> Bool {
        (shares[tenant]?.queues.returns ?? 0) > 0 || bytes(of: tenant) < total / 10
    }

    /// Datasets that are not to grow now: larger ones while a smaller one is to get room, and scans while others need it.
    func held(_ demand: Demand, at now: UInt64) -> Set<Tenant> {
        let hungry = shares.filter { tenant, share in
            demand.hungry.contains(tenant)
                || share.lastHunger.map { now - min(now, $0) < Self.hungerTime } ?? false
        }.keys
        let total = bytes
        var held = Set(hungry.count > 1 ? hungry.filter { !mayTake($0, total) } : [])
        if let least = hungry.filter({ mayTake($0, total) }).map(bytes(of:)).min() {
            held.formUnion(shares.keys.filter { bytes(of: $0) > least + demand.wantedBytes })
        }
        return held
    }

    private mutating func take(from tenant: Tenant, forced: Bool, _ mayGo: (ID) -> Bool) -> Victim? {
        // The queues know an entry's weight only until it leaves them.
        let before = bytes(of: tenant)
        guard let id = shares[tenant]?.queues.evict(forced: forced, mayGo) else { return nil }
        owners[id] = nil
        return Victim(id: id, tenant: tenant, bytes: before - bytes(of: tenant))
    }

    private mutating func touch(_ tenant: Tenant, _ now: UInt64) {
        if shares[tenant] == nil { shares[tenant] = Share(lastUse: now) }
        shares[tenant]?.lastUse = now
    }

    private func isIdle(_ tenant: Tenant, _ now: UInt64) -> Bool {
        guard let share = shares[tenant] else { return true }
        return now > share.lastUse && now - share.lastUse > idleTime
    }

    /// The dataset with entries that was not read for the longest time, and for long enough.
    private func idle(_ now: UInt64) -> Tenant? {
        shares.filter { $0.value.queues.count > 0 && isIdle($0.key, now) }
            .min { ($0.value.lastUse, $0.key) < ($1.value.lastUse, $1.key) }?.key
    }

    private func largest(besides tenant: Tenant?) -> Tenant? {
        shares.filter { $0.key != tenant && $0.value.queues.count > 0 }
            .max { ($0.value.queues.bytes, $0.key) < ($1.value.queues.bytes, $1.key) }?.key
    }
}
