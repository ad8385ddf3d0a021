import Chunking
import KamlTestSupport
import Testing

@Suite struct ChunkCutterTests {
    private let seed = SeededRandom.explorationSeed()

    /// Bytes of the sort that each kind meets: random, repetitive, records, records with damage.
    private func samples(_ random: inout SplitMix64) -> [[UInt8]] {
        var records: [UInt8] = []
        while records.count < 60_000 {
            records += random.record(random.below(8) == 0 ? random.below(9000) : random.below(300))
        }
        var damaged = records
        damaged[random.below(damaged.count)] ^= 0x10
        return [
            [], [7], random.bytes(63), random.bytes(64 + random.below(2000)), random.bytes(50_000),
            [UInt8](repeating: 0, count: 20_000), records, damaged,
            Array(records.dropLast(1 + random.below(5000))),
        ]
    }

    @Test(arguments: ChunkerKind.allCases)
    func everyByteIsInOneChunkWithinBounds(_ kind: ChunkerKind) throws {
        var random = SplitMix64(seed: seed)
        let parameters = try parameters([128, 512, 2048])
        for (index, bytes) in samples(&random).enumerated() {
            let ends = cuts(bytes, kind, parameters)
            #expect(ends.last ?? 0 == bytes.count, "sample \(index), seed \(seed)")
            let starts = [0] + ends.dropLast()
            for (start, end) in zip(starts, ends) {
                #expect(end > start && end - start <= 2048, "sample \(index), seed \(seed)")
                if kind == .cdc, end < bytes.count {
                    #expect(end - start >= 128, "sample \(index), seed \(seed)")
                }
            }
        }
    }

    @Test(arguments: ChunkerKind.allCases)
    func cutsDoNotDependOnBuffers(_ kind: ChunkerKind) throws {
        var random = SplitMix64(seed: seed)
        let parameters = try parameters([128, 512, 2048])
        for (index, bytes) in samples(&random).enumerated() {
            let whole = cuts(bytes, kind, parameters)
            for step in [1 + random.below(64), 2048, 2060, 2061, 1 + random.below(10_000)] {
                #expect(
                    cuts(bytes, kind, parameters, buffer: step) == whole,
                    "sample \(index), buffer \(step), seed \(seed)")
            }
        }
    }

    @Test func needsItsLookaheadUnlessTheFileEnds() {
        for kind in ChunkerKind.allCases {
            var cutter = ChunkCutter(kind, .standard, fileSize: 10 << 20)
            let bytes = [UInt8](repeating: 1, count: cutter.lookahead)
            bytes.withUnsafeBytes { raw in
                let short = UnsafeRawBufferPointer(rebasing: raw.dropLast())
                #expect(cutter.nextCut(in: short, isEnd: false) == nil)
                #expect(cutter.nextCut(in: UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true) == nil)
                var other = cutter
                #expect(other.nextCut(in: short, isEnd: true) != nil)
                #expect(cutter.nextCut(in: raw, isEnd: false) != nil)
            }
        }
    }

    @Test func equalChunks() {
        let bytes = [UInt8](repeating: 9, count: (5 << 20) / 2)
        #expect(cuts(bytes, .fixed) == [1 << 20, 2 << 20, bytes.count])
        #expect(cuts(Array(bytes.prefix(1 << 20)), .whole) == [1 << 20])
        #expect(cuts(Array(bytes.prefix((1 << 20) + 1)), .whole) == [1 << 20, (1 << 20) + 1])
    }

    @Test func oneByteInsertedCostsAFewChunks() {
        var random = SplitMix64(seed: 5)
        let old = random.bytes(16 << 20)
        var known = ChunkSet()
        _ = known.add(old, cutAt: cuts(old, .cdc))
        for place in [0, 5 << 20, (16 << 20) - 100_000] {
            var new = old
            new.insert(0x55, at: place)
            var seen = known
            #expect(seen.add(new, cutAt: cuts(new, .cdc)) * 10 <= new.count, "inserted at \(place)")
        }
    }

    @Test func averageIsNearItsName() {
        var random = SplitMix64(seed: 6)
        let bytes = random.bytes(32 << 20)
        let average = bytes.count / cuts(bytes, .cdc).count
        #expect((224 << 10)...(352 << 10) ~= average)
    }

    @Test(arguments: ContentDefinedSizes.samples)
    func anyValidSizesCutAnyBytes(_ sizes: [Int]) throws {
        var random = SplitMix64(seed: seed)
        let parameters = try parameters(sizes)
        for kind in ChunkerKind.allCases {
            let bytes = random.bytes(random.below(5000))
            #expect(cuts(bytes, kind, parameters).last ?? 0 == bytes.count, "\(kind), seed \(seed)")
        }
    }
}

extension ContentDefinedSizes {
    /// Corners of what the initialiser allows.
    fileprivate static let samples: [[Int]] = [
        [64, 256, 256], [256, 256, 256], [64, 256, 16 << 20], [16 << 20, 16 << 20, 16 << 20],
        [255, 256, 257],
    ]
}
