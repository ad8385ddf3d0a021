/// The cache that CoorDL (VLDB 2021) calls MinIO: once full it keeps what it has, since under epochs that read
/// everything once each entry is needed again, and whatever was put in its place would be needed no sooner.
///
/// An entry goes when it was not used for longer than any epoch could make it wait: two passes over everything that is
/// known. What it counts are entries, not bytes.
struct StableSet<ID: Hashable & Sendable>: Sendable {
    private(set) var residents = AgeLine<ID>()
    /// Everything that was used within the time after which an entry is dead.
    private(set) var known = AgeLine<ID>()
    private var now: UInt64 = 0

    /// Uses after which nothing waits for an entry any more.
    var patience: UInt64 { 2 * UInt64(known.count) + 16 }

    /// Notes a use, with room for `capacity` entries; whether the entry was there.
    mutating func use(_ id: ID, capacity: Int) -> Bool {
        now += 1
        known.use(id, at: now)
        if let oldest = known.oldest(), now - oldest.time > patience { known.remove(oldest.id) }
        let isHit = residents.lastUse(id) != nil
        if !isHit, residents.count >= capacity {
            guard let oldest = residents.oldest(), now - oldest.time > patience else { return false }
            residents.remove(oldest.id)
        }
        residents.use(id, at: now)
        while residents.count > capacity, let oldest = residents.oldest() { residents.remove(oldest.id) }
        return isHit
    }

    /// Holds other entries from now on, which count as just used.
    mutating func replace(with ids: [ID]) {
        residents = AgeLine()
        for id in ids { residents.use(id, at: now) }
    }
}
