import KamlTestSupport
import System
import Testing

@testable import RecordFeed

/// Where batches lie.
@Suite struct SlotTests {
    @Test("runs never overlap, begin on 64 bytes, and the lowest that fits is given")
    func space() {
        var space = SlabSpace(count: 10_000)
        var random = SplitMix64(seed: 3)
        var out: [Range<Int>] = []
        for _ in 0..<2000 {
            if random.next() % 2 == 0, let offset = space.take(Int(random.next() % 700) + 1) {
                let end = offset + 1
                #expect(offset % 64 == 0)
                #expect(!out.contains { $0.overlaps(offset..<end) })
                out.append(offset..<end)
            } else if !out.isEmpty {
                let run = out.remove(at: Int(random.next() % UInt64(out.count)))
                let isOut = space.giveBack(run.lowerBound)
                #expect(isOut)
            }
        }
        for run in out { space.giveBack(run.lowerBound) }
        #expect(space.isEmpty)
        let (lowest, isOut) = (space.take(1), space.giveBack(64))
        #expect(lowest == 0)
        #expect(!isOut)
    }

    @Test("a session has as much as its limit, and gets no more until something comes back")
    func limits() throws {
        let budget = SlabBudget(limit: 64 << 20)
        let pool = SlotPool(
            .init(bytes: 32 << 20, batch: 1 << 20), budget: budget, segments: SegmentNumbers())
        let first = try pool.take(10 << 20)
        #expect(first.isNew)
        let second = try pool.take(10 << 20)
        #expect(second.isNew)
        #expect(second.slot.slab.segment != first.slot.slab.segment)
        #expect(throws: SlotPool.Refusal.full) { try pool.take(10 << 20) }
        #expect(throws: SlotPool.Refusal.tooLarge) { try pool.take(33 << 20) }
        pool.giveBack(first.slot)
        #expect(try !pool.take(10 << 20).isNew)
        #expect(budget.usedBytes == 32 << 20)
    }

    @Test("all sessions together have no more than the node's limit, and what ends is given back")
    func budget() throws {
        let node = SlabBudget(limit: 16 << 20)
        do {
            let pool = SlotPool(
                .init(bytes: 64 << 20, batch: 1), budget: SlabBudget(limit: 64 << 20, of: node),
                segments: SegmentNumbers())
            _ = try pool.take(1)
            let other = SlotPool(
                .init(bytes: 64 << 20, batch: 1), budget: SlabBudget(limit: 64 << 20, of: node),
                segments: SegmentNumbers())
            #expect(throws: SlotPool.Refusal.failed(.noSpace)) { try other.take(1) }
        }
        #expect(node.usedBytes == 0)
    }

    @Test("one batch may always be out, however large; others wait for credit")
    func credits() {
        var credits = Credits(batches: 2, bytes: 100)
        #expect(credits.allow(1000))
        credits.take(60)
        #expect(credits.allow(40))
        #expect(!credits.allow(41))
        credits.take(10)
        #expect(!credits.allow(1))
        credits.giveBack(60)
        #expect(credits.allow(90))
    }
}
