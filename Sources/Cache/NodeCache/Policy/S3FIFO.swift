/// S3-FIFO (Yang et al., SOSP 2023) over weighted entries: a small queue that newcomers have to leave by being used, a
/// main queue that gives those which were used another round, and the names of those that left the small queue unused.
///
/// Scan-resistant: what is used once goes through the small queue, a tenth of the bytes.
struct S3FIFO<ID: Hashable & Sendable>: Sendable {
    private struct Node {
        var weight: Int
        var uses: UInt8 = 0
        var isMain: Bool
        /// Tells the entry's place in a queue from the places it had before.
        var ticket: UInt64
    }

    private struct Queue {
        var line: [(id: ID, ticket: UInt64)] = []
        var head = 0

        mutating func push(_ id: ID, _ ticket: UInt64) { line.append((id, ticket)) }

        mutating func pop() -> (id: ID, ticket: UInt64)? {
            guard head < line.count else { return nil }
            defer {
                head += 1
                if head > 64, head * 2 > line.count {
                    line.removeFirst(head)
                    head = 0
                }
            }
            return line[head]
        }
    }

    private var nodes: [ID: Node] = [:]
    private var small = Queue()
    private var main = Queue()
    private var ghosts = AgeLine<ID>()
    private var nextTicket: UInt64 = 0
    private(set) var weight = 0
    private var smallWeight = 0
    private static var mostUses: UInt8 { 3 }

    var count: Int { nodes.count }
    var ids: [ID] { Array(nodes.keys) }
    /// In the order of their places in the queues; that of `ids` differs from run to run.
    var inOrder: [ID] { nodes.sorted { $0.value.ticket < $1.value.ticket }.map(\.key) }

    func contains(_ id: ID) -> Bool { nodes[id] != nil }
    func weight(of id: ID) -> Int? { nodes[id]?.weight }

    /// Notes a use; whether the entry is there.
    mutating func use(_ id: ID) -> Bool {
        guard let uses = nodes[id]?.uses else { return false }
        if uses < Self.mostUses { nodes[id]?.uses = uses + 1 }
        return true
    }

    /// Enters a newcomer; one that left a while ago unused goes to the main queue.
    mutating func insert(_ id: ID, weight: Int) {
        remove(id)
        let isMain = ghosts.lastUse(id) != nil
        ghosts.remove(id)
        nodes[id] = Node(weight: weight, isMain: isMain, ticket: nextTicket)
        place(id, isMain)
        self.weight += weight
        if !isMain { smallWeight += weight }
    }

    mutating func resize(_ id: ID, weight: Int) {
        guard let node = nodes[id] else { return }
        self.weight += weight - node.weight
        if !node.isMain { smallWeight += weight - node.weight }
        nodes[id]?.weight = weight
    }

    mutating func remove(_ id: ID) {
        guard let node = nodes.removeValue(forKey: id) else { return }
        weight -= node.weight
        if !node.isMain { smallWeight -= node.weight }
    }

    /// Takes out the entry that is to go first among those that may. Nil when none may.
    mutating func evict(_ mayGo: (ID) -> Bool = { _ in true }) -> ID? {
        // Each step moves an entry on or lowers its count of uses.
        var steps = (Int(Self.mostUses) + 2) * nodes.count + 2
        while steps > 0, !nodes.isEmpty {
            steps -= 1
            if smallWeight * 10 >= weight, let id = next(isMain: false) {
                let uses = nodes[id]?.uses ?? 0
                guard uses <= 1, mayGo(id) else {
                    promote(id)
                    continue
                }
                remove(id)
                nextTicket += 1
                ghosts.use(id, at: nextTicket)
                if ghosts.count > max(16, nodes.count), let oldest = ghosts.oldest() {
                    ghosts.remove(oldest.id)
                }
                return id
            }
            guard let id = next(isMain: true) ?? next(isMain: false) else { return nil }
            let uses = nodes[id]?.uses ?? 0
            if uses == 0, mayGo(id) {
                remove(id)
                return id
            }
            if uses > 0 { nodes[id]?.uses = uses - 1 }
            promote(id)
        }
        // All of the main queue may not go; the small one was too small to be looked at.
        guard let id = inOrder.first(where: { nodes[$0]?.isMain == false && mayGo($0) }) else { return nil }
        remove(id)
        return id
    }

    /// The front of a queue, taken out of it.
    private mutating func next(isMain: Bool) -> ID? {
        while let entry = isMain ? main.pop() : small.pop() {
            if let node = nodes[entry.id], node.ticket == entry.ticket { return entry.id }
        }
        return nil
    }

    private mutating func promote(_ id: ID) {
        guard let node = nodes[id] else { return }
        if !node.isMain {
            smallWeight -= node.weight
            nodes[id]?.isMain = true
            nodes[id]?.uses = 0
        }
        place(id, true)
    }

    private mutating func place(_ id: ID, _ isMain: Bool) {
        nextTicket += 1
        nodes[id]?.ticket = nextTicket
        if isMain { main.push(id, nextTicket) } else { small.push(id, nextTicket) }
    }
}
