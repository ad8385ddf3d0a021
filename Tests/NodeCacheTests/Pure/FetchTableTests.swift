import KamlTestSupport
import Testing

@testable import NodeCache

/// Single flight, with no I/O.
@Suite struct FetchTableTests {
    /// `#expect` copies what it looks at, and the table cannot be copied.
    private final class Table {
        private var table = FetchTable<Int>()
        var count: Int { table.count }
        func isInFlight(_ key: FetchTable<Int>.Key) -> Bool { table.isInFlight(key) }
        func request(_ key: FetchTable<Int>.Key, _ waiter: Int) -> FetchTable<Int>.Role {
            table.request(key, waiter)
        }
        func requestAhead(_ key: FetchTable<Int>.Key) -> Bool { table.requestAhead(key) }
        func finish(_ key: FetchTable<Int>.Key) -> [Int] { table.finish(key) }
    }

    private final class Thing {}
    private let thing = Thing()
    private func key(_ chunk: Int) -> FetchTable<Int>.Key {
        .init(container: ObjectIdentifier(thing), chunk: chunk)
    }

    @Test("the first to ask starts, all others wait, and all of them are told")
    func singleFlight() {
        let table = Table()
        #expect(table.request(key(7), 1) == .start)
        #expect(table.request(key(7), 2) == .wait)
        #expect(table.request(key(8), 3) == .start)
        #expect(table.request(key(7), 4) == .wait)
        #expect(table.finish(key(7)) == [1, 2, 4])
        #expect(!table.isInFlight(key(7)))
        #expect(table.isInFlight(key(8)))
        #expect(table.request(key(7), 5) == .start)
        #expect(table.finish(key(8)) == [3])
        #expect(table.finish(key(7)) == [5])
        #expect(table.count == 0)
    }

    @Test("a chunk that is read ahead has no waiter of its own, and takes those who come")
    func ahead() {
        let table = Table()
        #expect(table.requestAhead(key(1)))
        #expect(!table.requestAhead(key(1)))
        #expect(table.request(key(1), 9) == .wait)
        #expect(table.finish(key(1)) == [9])
        #expect(table.requestAhead(key(1)))
        #expect(table.finish(key(1)) == [])
    }

    @Test("any order of requests and ends: each waiter is told once, by one leader at a time")
    func randomOrders() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        let table = Table()
        var waiting: [Int: Set<Int>] = [:]
        for step in 0..<20_000 {
            let chunk = Int(random.next() % 16)
            if random.next() % 3 == 0, waiting[chunk] != nil {
                let told = table.finish(key(chunk))
                #expect(Set(told) == waiting[chunk], "seed \(seed)")
                waiting[chunk] = nil
            } else {
                let role = table.request(key(chunk), step)
                #expect(role == (waiting[chunk] == nil ? .start : .wait), "seed \(seed)")
                waiting[chunk, default: []].insert(step)
            }
        }
        let count = table.count
        #expect(count == waiting.count, "seed \(seed)")
    }
}
