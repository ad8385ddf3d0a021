import Chunking
import KamlTestSupport
import Testing

@Suite struct RecordCutterTests {
    private let sizes = [1024, 4096, 16_384]

    private func shards(_ records: [[UInt8]], each size: Int) -> [[UInt8]] {
        var shards: [[UInt8]] = [[]]
        for record in records {
            if let last = shards.last, last.count >= size { shards.append([]) }
            shards[shards.count - 1] += record
        }
        return shards
    }

    private func share(of new: [[UInt8]], knownFrom old: [[UInt8]]) -> Double {
        var known = ChunkSet()
        for shard in old { _ = known.add(shard, cutAt: cuts(shard, .record)) }
        var stored = 0
        for shard in new { stored += known.add(shard, cutAt: cuts(shard, .record)) }
        return 1 - Double(stored) / Double(new.reduce(0) { $0 + $1.count })
    }

    @Test func regroupedShardsKeepTheirChunks() {
        var random = SplitMix64(seed: 21)
        let records = (0..<600).map { _ in random.record(10_000 + random.below(190_000)) }
        let found = share(of: shards(records, each: 11 << 20), knownFrom: shards(records, each: 16 << 20))
        #expect(found >= 0.95, "found \(found)")
    }

    /// Records that are all under the minimum: only the hash decides.
    @Test func regroupedShardsOfSmallRecordsKeepTheirChunks() {
        var random = SplitMix64(seed: 22)
        let records = (0..<6000).map { _ in random.record(1000 + random.below(20_000)) }
        let found = share(of: shards(records, each: 20 << 20), knownFrom: shards(records, each: 32 << 20))
        #expect(found >= 0.95, "found \(found)")
    }

    /// Records that are chunks of their own survive any order.
    @Test func shuffledLargeRecordsKeepTheirChunks() {
        var random = SplitMix64(seed: 23)
        let records = (0..<200).map { _ in random.record(70_000 + random.below(100_000)) }
        let found = share(
            of: shards(records.shuffled(using: &random), each: 9 << 20),
            knownFrom: shards(records, each: 9 << 20))
        #expect(found == 1)
    }

    @Test func averageIsNearItsNameForSmallRecords() {
        var random = SplitMix64(seed: 24)
        for data in [100, 3000, 30_000] {
            var bytes: [UInt8] = []
            while bytes.count < 12 << 20 { bytes += random.record(data) }
            let average = bytes.count / cuts(bytes, .record).count
            #expect((190 << 10)...(330 << 10) ~= average, "records of \(data)")
        }
    }

    @Test func largeRecordsAreChunksAlone() throws {
        var random = SplitMix64(seed: 25)
        let small = random.record(100)
        let large = random.record(2000)
        let huge = random.record(40_000)
        let exact = random.record(16_384 - 16)
        let bytes = small + large + small + huge + small + exact
        var end = 0
        var expected: [Int] = []
        for length in [
            small.count, large.count, small.count, 16_384, 16_384, huge.count - 32_768, small.count,
            exact.count,
        ] {
            end += length
            expected.append(end)
        }
        #expect(cuts(bytes, .record, try parameters(sizes)) == expected)
    }

    @Test func emptyRecordsAreCutAtTheMaximum() throws {
        let empty = frame([], trailer: 0)
        let bytes = [[UInt8]](repeating: empty, count: 4000).flatMap { $0 }
        let ends = cuts(bytes, .record, try parameters(sizes))
        #expect(ends.allSatisfy { $0 % 16 == 0 } && ends.last == bytes.count)
    }

    /// From the damage on, cuts are those of CDC on the bytes that remain.
    @Test func damageFallsBackToContentDefinedCuts() throws {
        var random = SplitMix64(seed: 26)
        let parameters = try parameters(sizes)
        let good = random.record(500) + random.record(300)
        let rest = random.bytes(90_000)
        let bytes = good + rest
        let expected = [good.count] + cuts(rest, .cdc, parameters).map { $0 + good.count }
        #expect(cuts(bytes, .record, parameters) == expected)
        #expect(cuts(rest, .record, parameters) == cuts(rest, .cdc, parameters))
    }

    @Test func lengthsThatLieAreNoRecords() throws {
        let parameters = try parameters(sizes)
        var random = SplitMix64(seed: 27)
        let tail = random.bytes(50_000)
        let lengths: [UInt64] = [.max, .max - 15, .max - 16, 1 << 63, 50_001, 1 << 32]
        for length in lengths {
            let header = littleEndian(length) + littleEndian(CRC32C.masked(CRC32C.checksum(ofWord: length)))
            let bytes = header + tail
            #expect(cuts(bytes, .record, parameters) == cuts(bytes, .cdc, parameters), "length \(length)")
        }
    }

    /// A file that shrank or grew after its size was taken.
    @Test func wrongFileSizesBreakNothing() throws {
        let parameters = try parameters(sizes)
        var random = SplitMix64(seed: 28)
        var bytes: [UInt8] = []
        while bytes.count < 200_000 { bytes += random.record(random.below(50_000)) }
        let fileSizes: [UInt64] = [0, 1, 100_000, UInt64(bytes.count) + 1, .max]
        for size in fileSizes {
            for length in [bytes.count, 70_001, 17] {
                let part = Array(bytes.prefix(length))
                let ends = cuts(part, .record, parameters, fileSize: size)
                #expect(ends.last == length)
                #expect(cuts(part, .record, parameters, fileSize: size, buffer: 5000) == ends)
            }
        }
    }

    @Test func flippedBitsBreakNothing() throws {
        let seed = SeededRandom.explorationSeed()
        let parameters = try parameters(sizes)
        var random = SplitMix64(seed: seed)
        var bytes: [UInt8] = []
        while bytes.count < 30_000 { bytes += random.record(random.below(random.below(2) == 0 ? 100 : 9000)) }
        for _ in 0..<200 {
            var damaged = Array(bytes.prefix(1 + random.below(bytes.count)))
            for _ in 0..<(1 + random.below(3)) {
                damaged[random.below(damaged.count)] = UInt8(random.below(256))
            }
            #expect(cuts(damaged, .record, parameters).last == damaged.count, "seed \(seed)")
        }
    }
}
