import KamlTestSupport
import Testing

@testable import NodeCache

@Suite struct FetchQueueTests {
    typealias Queue = FetchQueue<Int, String>

    /// `#expect` cannot look at what a call changes.
    private final class Box {
        var queue: Queue
        init(_ queue: Queue) { self.queue = queue }
        func add(_ entry: Queue.Entry) { queue.add(entry) }
        func take() -> Queue.Entry? { queue.next() }
        func next() -> Int? { queue.next()?.item }
        func next(_ count: Int) -> [Int?] { (0..<count).map { _ in next() } }
        func startNow(_ entry: Queue.Entry) -> Bool { queue.startNow(entry) }
        func finished(_ entry: Queue.Entry) { queue.finished(entry) }
    }

    private func queue(bytes: Int = 100, ahead: Int = 4, perKey: Int = 3) -> Box {
        Box(Queue(budget: ByteBudget(limit: bytes), limits: .init(ahead: ahead, perKey: perKey)))
    }

    private func entry(_ item: Int, _ key: String, _ charge: Int, _ kind: Queue.Class = .reader)
        -> Queue.Entry
    {
        .init(item: item, key: key, charge: charge, kind: kind)
    }

    @Test("readers go first and in their order, then what runs ahead, then what fills")
    func order() {
        let queue = queue()
        queue.add(entry(1, "a", 1, .filling))
        queue.add(entry(2, "b", 1, .ahead))
        queue.add(entry(3, "c", 1))
        queue.add(entry(4, "d", 1))
        #expect(queue.next(5) == [3, 4, 2, 1, nil])
    }

    @Test("what is over its key's share keeps no thread busy")
    func readiness() {
        let queue = queue(perKey: 2)
        for item in 0..<5 { queue.add(entry(item, "a", 1)) }
        #expect(queue.queue.ready == 2)
        let first = queue.take()
        _ = queue.take()
        #expect(queue.queue.ready == 0)
        queue.add(entry(9, "b", 1))
        #expect(queue.queue.ready == 1)
        if let first { queue.finished(first) }
        #expect(queue.queue.ready == 2)
    }

    @Test("nothing overtakes a reader that waits for its bytes")
    func noOvertaking() {
        let queue = queue()
        queue.add(entry(1, "a", 60))
        queue.add(entry(2, "b", 60))
        queue.add(entry(3, "c", 1))
        queue.add(entry(4, "d", 1, .ahead))
        let first = queue.take()
        #expect(first?.item == 1)
        #expect(queue.next() == nil)
        #expect(!queue.startNow(entry(5, "e", 1)))
        if let first { queue.finished(first) }
        #expect(queue.next(4) == [2, 3, 4, nil])
    }

    @Test("a charge beyond the limit runs alone, and reading ahead leaves room for readers")
    func limits() {
        let queue = queue()
        queue.add(entry(1, "a", 500))
        queue.add(entry(2, "a", 1))
        let first = queue.take()
        #expect(first?.item == 1)
        #expect(queue.next() == nil)
        if let first { queue.finished(first) }
        #expect(queue.next() == 2)
        queue.add(entry(3, "b", 70, .ahead))
        queue.add(entry(4, "b", 10, .ahead))
        #expect(queue.next() == 3)
        #expect(queue.next() == nil)
        queue.add(entry(5, "c", 20))
        #expect(queue.next() == 5)
    }

    @Test("no pack has more than its share of what runs, and those behind it go on")
    func shares() {
        let queue = queue()
        for item in 0..<6 { queue.add(entry(item, "hangs", 1)) }
        queue.add(entry(7, "other", 1))
        #expect(queue.next(4) == [0, 1, 2, 7])
        #expect(queue.next() == nil)
        queue.finished(entry(0, "hangs", 1))
        #expect(queue.next() == 3)
    }

    @Test("in any order of events the bytes are within the limit, and everything runs in the end")
    func anyOrder() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        let queue = queue(bytes: 1000, ahead: 5, perKey: 4)
        var running: [Queue.Entry] = []
        var (added, done) = (0, 0)
        for step in 0..<20_000 {
            switch random.next() % 3 {
            case 0:
                let kind = Queue.Class(rawValue: Int(random.next() % 3)) ?? .reader
                queue.add(entry(step, "\(random.next() % 5)", Int(random.next() % 400), kind))
                added += 1
            case 1: if let next = queue.take() { running.append(next) }
            default:
                if !running.isEmpty {
                    queue.finished(running.remove(at: Int(random.next() % UInt64(running.count))))
                    done += 1
                }
            }
            #expect(queue.queue.budget.used == running.reduce(0) { $0 + $1.charge }, "seed \(seed)")
            #expect(queue.queue.budget.used <= 1000, "seed \(seed)")
            #expect(running.count { $0.kind != .reader } <= 5, "seed \(seed)")
        }
        while queue.queue.waiting > 0 || !running.isEmpty {
            if let next = queue.take() {
                running.append(next)
            } else {
                queue.finished(running.removeFirst())
                done += 1
            }
        }
        #expect(added == done && queue.queue.budget.used == 0, "seed \(seed)")
    }
}
