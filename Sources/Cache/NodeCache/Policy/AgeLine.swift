/// Names in the order of their last use, oldest first. Every operation is amortized O(1).
struct AgeLine<ID: Hashable & Sendable>: Sendable {
    private var times: [ID: UInt64] = [:]
    /// With stale entries, which are skipped: a use does not look for the old one.
    private var line: [(id: ID, time: UInt64)] = []
    private var head = 0

    var count: Int { times.count }
    var ids: Dictionary<ID, UInt64>.Keys { times.keys }

    func lastUse(_ id: ID) -> UInt64? { times[id] }

    /// `time` is not below that of any earlier call.
    mutating func use(_ id: ID, at time: UInt64) {
        times[id] = time
        line.append((id, time))
        if line.count > 2 * times.count + 64 { compact() }
    }

    mutating func remove(_ id: ID) { times[id] = nil }

    /// The name that was not used for the longest time.
    mutating func oldest() -> (id: ID, time: UInt64)? {
        while head < line.count {
            let entry = line[head]
            if times[entry.id] == entry.time { return entry }
            head += 1
        }
        return nil
    }

    /// All of them, oldest first.
    var inOrder: [ID] { line[head...].lazy.filter { times[$0.id] == $0.time }.map(\.id) }

    private mutating func compact() {
        line = line[head...].filter { times[$0.id] == $0.time }
        head = 0
    }
}
