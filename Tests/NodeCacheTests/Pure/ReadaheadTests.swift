import DatasetStore
import KamlTestSupport
import Testing

@testable import NodeCache

/// Chunks of one size.
private struct Even: ChunkSizes {
    var chunkCount: Int
    var size: UInt64 = 1 << 20
    func start(of chunk: Int) -> UInt64 { UInt64(chunk) * size }
}

/// A node that has at once what it was told to fetch.
private struct Reader {
    var readahead: Readahead
    let sizes: Even
    var present = Set<Int>()
    var needed = Set<Int>()
    var requests = 0
    var misses = 0

    init(_ layout: PackLayout, chunks: Int, size: UInt64 = 1 << 20) {
        sizes = Even(chunkCount: chunks, size: size)
        readahead = Readahead(layout: layout, chunkCount: chunks, limits: .init())
    }

    /// What is read ahead of a reader, in chunks.
    @discardableResult
    mutating func read(_ chunk: Int) -> [Range<Int>] {
        let isMiss = present.insert(chunk).inserted
        needed.insert(chunk)
        if isMiss {
            misses += 1
            requests += 1
        } else if !readahead.isActive {
            return []
        }
        let known = present
        let advice = readahead.access(chunk..<(chunk + 1), isMiss: isMiss, sizes: sizes) { word in
            ((word * 64)..<(word * 64 + 64)).count(where: known.contains)
        }
        for order in advice.orders {
            requests += 1
            present.formUnion(order.chunks)
        }
        return advice.orders.map(\.chunks)
    }

    var waste: Double { Double(present.count) / Double(needed.count) }
}

@Suite struct ReadaheadTests {
    @Test("a reader that runs forward misses twice, and has 64 MiB in flight soon, in pieces of 8")
    func forward() {
        var reader = Reader(.file, chunks: 4096)
        var ahead = 0
        for chunk in 0..<4096 {
            for piece in reader.read(chunk) {
                #expect(piece.count <= 8)
                ahead = max(ahead, piece.upperBound - chunk)
            }
        }
        #expect(reader.misses == 2)
        #expect((64...72).contains(ahead))
        #expect(reader.requests < 4096 / 8 + 20)
        #expect(reader.waste == 1)
    }

    @Test("after a stretch in order, reads here and there of what is present are no longer told")
    func endsBeingActive() {
        var reader = Reader(.file, chunks: 4096)
        for chunk in 0..<100 { reader.read(chunk) }
        #expect(reader.readahead.isActive)
        for step in 0..<400 { reader.read(step * 37 % 90) }
        #expect(!reader.readahead.isActive)
        // The reader goes on where it was.
        for chunk in 100..<300 { reader.read(chunk) }
        #expect(reader.readahead.isActive)
        #expect(reader.misses <= 4)
    }

    @Test("a reader that stops has been read ahead of by no more than it has read, and a mebibyte")
    func stops() {
        for end in 2..<300 {
            var reader = Reader(.file, chunks: 4096)
            for chunk in 0..<end { reader.read(chunk) }
            #expect(reader.present.count <= 2 * end + 2, "after \(end)")
        }
    }

    @Test("parallel reads of one reader come out of order, and are one run all the same")
    func outOfOrder() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        var reader = Reader(.file, chunks: 2048)
        for group in stride(from: 0, to: 2048, by: 4) {
            for chunk in (group..<(group + 4)).shuffled(using: &random) { reader.read(chunk) }
        }
        #expect(reader.misses <= 20, "seed \(seed)")
        #expect(reader.waste == 1)
    }

    @Test("several readers of one file are read ahead of, each at its place")
    func several() {
        var reader = Reader(.file, chunks: 4096)
        for step in 0..<256 {
            for place in 0..<8 { reader.read(place * 512 + step) }
        }
        #expect(reader.misses <= 16)
        #expect(reader.waste < 1.3)
    }

    @Test("a reader that runs backward is read ahead of backward")
    func backward() {
        var reader = Reader(.file, chunks: 1024)
        for chunk in (0..<1024).reversed() { reader.read(chunk) }
        #expect(reader.misses <= 3)
        #expect(reader.waste == 1)
    }

    @Test("of a stride only the steps are fetched", arguments: [7, 100, -9])
    func strided(_ step: Int) {
        var reader = Reader(.file, chunks: 16_384)
        var chunk = step > 0 ? 3 : 16_000
        for _ in 0..<100 {
            reader.read(chunk)
            chunk += step
        }
        #expect(reader.misses <= 4)
        #expect(reader.waste < 1.2)
    }

    @Test("random reads in a large file get hardly anything that they did not ask for")
    func randomInLargeFile() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        var reader = Reader(.file, chunks: 16_384)
        for _ in 0..<2000 { reader.read(Int(random.next() % 16_384)) }
        #expect(reader.waste < 1.25, "seed \(seed)")
    }

    @Test(
        "whatever is read of a large file in whatever order, at most about twice of what it spans is fetched")
    func bounded() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        for _ in 0..<60 {
            var reader = Reader(.file, chunks: 2048)
            var chunk = 0
            var spanned = 0
            let habit = random.next() % 4
            for _ in 0..<(20 + Int(random.next() % 1500)) {
                switch habit {
                case 0: chunk = Int(random.next() % 2048)
                case 1: chunk = random.next() % 20 == 0 ? Int(random.next() % 2048) : (chunk + 1) % 2048
                case 2:
                    let step = 1 + Int(random.next() % 3)
                    spanned += step
                    chunk = (chunk + step) % 2048
                default: chunk = (chunk + 2) % 2048
                }
                reader.read(chunk)
            }
            // Of what a reader skips as it goes along twice as much is fetched, too.
            let waste = Double(reader.present.count) / Double(max(reader.needed.count, min(spanned, 2048)))
            #expect(waste < 3, "habit \(habit), \(reader.needed.count) needed, seed \(seed)")
        }
    }

    @Test("an epoch over small files in random order fetches each pack in large pieces after few misses")
    func randomEpoch() {
        var random = SplitMix64(seed: 3)
        var reader = Reader(.slots, chunks: 640, size: 100 << 10)
        for chunk in (0..<640).shuffled(using: &random) { reader.read(chunk) }
        #expect(reader.misses <= 12)
        #expect(reader.requests <= 30)
    }

    @Test("few random small files do not fetch their pack")
    func fewRandomFiles() {
        var reader = Reader(.slots, chunks: 640, size: 100 << 10)
        for chunk in [5, 300, 77, 610, 421, 180] { reader.read(chunk) }
        #expect(reader.present.count == 6)
    }

    @Test("a reader that comes from the end of a pack goes on in the next one with its window")
    func nextPack() {
        var first = ReadaheadRuns(.init())
        let sizes = Even(chunkCount: 640, size: 100 << 10)
        var window: Int?
        for chunk in 0..<640 {
            let advice = first.access(chunk..<(chunk + 1), isMiss: true, sizes: sizes)
            window = advice.windowAtEnd ?? window
        }
        #expect((window ?? 0) >= 32 << 20)
        var next = ReadaheadRuns(.init())
        let advice = next.access(0..<1, isMiss: true, sizes: sizes, window: window)
        #expect(advice.ahead.count >= 4)
        #expect(advice.ahead.first?.lowerBound == 1)
    }
}
