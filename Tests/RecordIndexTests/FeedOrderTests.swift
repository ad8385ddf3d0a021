import CKamlFeed
import FoundationEssentials
import KamlTestSupport
import RecordIndex
import Testing

@Suite struct FeedOrderTests {
    private struct Vectors: Decodable {
        struct Order: Decodable {
            var kind: UInt32
            var records, seed, epoch, block, window: UInt64
            var ordinals, order: [UInt64]
        }
        struct Steps: Decodable {
            var records, ordinal, batch: UInt64
            var world: UInt32
            var drop: Int32
            var steps: UInt64
        }
        var version: UInt32
        var orders: [Order]
        var steps: [Steps]
    }

    @Test("what version 1 computes never changes")
    func vectors() throws {
        let directory = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = directory.joined(separator: "/") + "/order-vectors.json"
        let vectors = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: URL(filePath: path)))
        #expect(vectors.orders.count > 30)
        for vector in vectors.orders {
            let kind: FeedOrder.Kind =
                switch vector.kind {
                case 1: .sequential
                case 2: .shuffled
                default: .blocks(block: vector.block, window: vector.window)
                }
            let order = try #require(
                FeedOrder(
                    kind, records: vector.records, seed: vector.seed, epoch: vector.epoch,
                    version: vectors.version))
            #expect(vector.ordinals.map { order.record(at: $0) } == vector.order)
            #expect(vector.order.map { order.place(of: $0) } == vector.ordinals)
        }
        for vector in vectors.steps {
            let steps = FeedOrder.steps(
                records: vector.records, from: vector.ordinal, batch: vector.batch, world: vector.world,
                drop: vector.drop != 0)
            #expect(steps == vector.steps, "\(vector)")
        }
    }

    @Test("every order is a bijection with an inverse", arguments: [UInt64](0...70) + [255, 256, 257, 1023])
    func bijection(records: UInt64) throws {
        var kinds: [FeedOrder.Kind] = [.sequential, .shuffled]
        for block in [1, 2, 3, 7, 16, 1000] as [UInt64] {
            for window in [1, 2, 5, 1000] as [UInt64] { kinds.append(.blocks(block: block, window: window)) }
        }
        for kind in kinds {
            let order = try #require(FeedOrder(kind, records: records, seed: 3, epoch: records))
            let all = (0..<records).compactMap { order.record(at: $0) }
            #expect(Set(all).count == Int(records) && all.allSatisfy { $0 < records }, "\(kind)")
            #expect(all.map { order.place(of: $0) } == (0..<records).map { $0 }, "\(kind)")
            #expect(order.record(at: records) == nil && order.place(of: records) == nil)
        }
    }

    @Test("windows hold their own blocks and no others")
    func windows() throws {
        // 13 blocks, the last one short; windows of 4 blocks.
        let (block, window, records) = (10 as UInt64, 4 as UInt64, 127 as UInt64)
        let order = try #require(
            FeedOrder(.blocks(block: block, window: window), records: records, seed: 1, epoch: 0))
        var place: UInt64 = 0
        var seen: Set<UInt64> = []
        while place < records {
            var blocks: Set<UInt64> = []
            var count: UInt64 = 0
            // A window ends when its blocks are used up.
            while place < records,
                count < blocks.reduce(0, { $0 + min(block, records - $1 * block) }) || blocks.count < 4
            {
                guard let record = order.record(at: place), !seen.contains(record / block) else { break }
                blocks.insert(record / block)
                (count, place) = (count + 1, place + 1)
                if blocks.count > 4 { break }
            }
            #expect(blocks.count <= 4 && count == blocks.reduce(0) { $0 + min(block, records - $1 * block) })
            seen.formUnion(blocks)
        }
        #expect(seen.count == 13)
    }

    @Test("what names no order is refused")
    func refusals() {
        #expect(FeedOrder(.shuffled, records: 1, seed: 0, epoch: 0, version: 2) == nil)
        #expect(FeedOrder(.shuffled, records: FeedOrder.mostRecords + 1, seed: 0, epoch: 0) == nil)
        #expect(FeedOrder(.blocks(block: 0, window: 1), records: 1, seed: 0, epoch: 0) == nil)
        #expect(FeedOrder(.blocks(block: 1, window: 0), records: 1, seed: 0, epoch: 0) == nil)
        var order = kaml_order()
        #expect(kaml_order_init(&order, 1, 0, 1, 0, 0, 1, 1) != 0)
        #expect(kaml_order_init(&order, 1, 4, 1, 0, 0, 1, 1) != 0)
    }

    @Test(
        "ranks share an epoch, also when their number changes in the middle",
        arguments: 0..<40 as Range<UInt64>)
    func elastic(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let records = random.next() % 500
        let batch = 1 + random.next() % 20
        var given = [Int](repeating: 0, count: Int(records))
        var ordinal: UInt64 = 0
        // Worlds of other sizes take over at steps' ends; the last one goes on to the epoch's.
        for turn in 0..<4 {
            let world = UInt32(1 + random.next() % 5)
            let steps = FeedOrder.steps(
                records: records, from: ordinal, batch: batch, world: world, drop: false)
            let taken = turn == 3 ? steps : random.next() % (steps + 1)
            for step in 0..<taken {
                for rank in 0..<UInt64(world) {
                    let first = ordinal + (step * UInt64(world) + rank) * batch
                    for place in first..<first + batch where place < records { given[Int(place)] += 1 }
                }
            }
            ordinal = min(records, ordinal + taken * UInt64(world) * batch)
        }
        #expect(given.allSatisfy { $0 == 1 })
    }

    @Test("with the remainder dropped every batch is full, and less than a step is left")
    func dropped() {
        for records in 0..<60 as Range<UInt64> {
            for (batch, world) in [(1, 1), (3, 2), (7, 4)] as [(UInt64, UInt32)] {
                let steps = FeedOrder.steps(records: records, from: 0, batch: batch, world: world, drop: true)
                #expect(steps * batch * UInt64(world) <= records)
                #expect((steps + 1) * batch * UInt64(world) > records)
            }
        }
    }
}
