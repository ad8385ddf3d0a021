import KamlTestSupport
import RecordIndex
import Testing

@Suite struct CachedFirstTests {
    @Test("each record comes once, those in the cache first", arguments: 0..<60 as Range<UInt64>)
    func once(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let records = random.next() % 400
        // Runs in no order, some over each other, some empty or beyond the end.
        let cached = (0..<random.next() % 8).map { _ in
            let begin = random.next() % 450
            return begin..<begin + random.next() % 60
        }
        let kind: FeedOrder.Kind = seed.isMultiple(of: 3) ? .blocks(block: 7, window: 4) : .shuffled
        let order = CachedFirstOrder(
            try #require(FeedOrder(kind, records: records, seed: seed, epoch: 1)), cached: cached)
        let all = (0..<records).compactMap { order.record(at: $0) }
        #expect(all.sorted() == (0..<records).map { $0 })
        let isCached = all.map { record in cached.contains { $0.contains(record) } }
        #expect(isCached == (0..<records).map { $0 < order.cachedRecords })
        #expect(order.record(at: records) == nil)
    }

    @Test("both parts are shuffled: no record is bound to a place")
    func unbiased() throws {
        var sums = [Double](repeating: 0, count: 40)
        for epoch in 0..<2_000 as Range<UInt64> {
            let order = CachedFirstOrder(
                try #require(FeedOrder(.shuffled, records: 40, seed: 1, epoch: epoch)),
                cached: [5..<10, 20..<31])
            for place in 0..<40 as Range<UInt64> {
                sums[Int(try #require(order.record(at: place)))] += Double(place)
            }
        }
        for (record, sum) in sums.enumerated() {
            let isCached = (5..<10).contains(record) || (20..<31).contains(record)
            let (count, first) = isCached ? (16.0, 0.0) : (24.0, 16.0)
            // Mean and deviation of a place drawn evenly, over 2,000 epochs.
            let deviation = ((count * count - 1) / 12 / 2_000).squareRoot()
            #expect(abs(sum / 2_000 - (first + (count - 1) / 2)) < 5 * deviation)
        }
    }

    @Test("the order repeats for the same cache")
    func repeats() throws {
        let order = try #require(FeedOrder(.shuffled, records: 100, seed: 1, epoch: 2))
        let (one, other) = (
            CachedFirstOrder(order, cached: [3..<50]), CachedFirstOrder(order, cached: [20..<50, 3..<25])
        )
        #expect((0..<100).map { one.record(at: $0) } == (0..<100).map { other.record(at: $0) })
    }
}
