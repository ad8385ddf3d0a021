/// Values by key up to a total cost; those not asked for longest go first.
///
/// Eviction sorts by age and drops an eighth at once, so finding stays one dictionary look-up.
struct LeastRecentlyUsed<Key: Hashable & Sendable, Value: AnyObject & Sendable>: Sendable {
    private struct Entry {
        var value: Value
        var cost: Int
        var lastUse: UInt64
    }

    private var entries: [Key: Entry] = [:]
    private let capacity: Int
    private var total = 0
    private var uses: UInt64 = 0

    init(capacity: Int) { self.capacity = capacity }

    mutating func find(_ key: Key) -> Value? {
        guard let index = entries.index(forKey: key) else { return nil }
        uses &+= 1
        entries.values[index].lastUse = uses
        return entries.values[index].value
    }

    mutating func keep(_ value: Value, as key: Key, cost: Int) {
        uses &+= 1
        if let old = entries.updateValue(Entry(value: value, cost: cost, lastUse: uses), forKey: key) {
            total -= old.cost
        }
        total += cost
        if total > capacity { evict() }
    }

    private mutating func evict() {
        for (key, entry) in entries.sorted(by: { $0.value.lastUse < $1.value.lastUse }) {
            if total <= capacity / 8 * 7 || entries.count == 1 { return }
            entries[key] = nil
            total -= entry.cost
        }
    }
}
