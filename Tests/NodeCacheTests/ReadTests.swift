import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// Reads that miss and reads that hit.
@Suite struct ReadTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let origin: CountingObjectStore

    init() throws {
        home = try CacheFixture()
        origin = CountingObjectStore(store)
    }

    @Test("what was fetched once is read from the container ever after, also by the next life of the cache")
    func missThenHit() throws {
        let fixture = try PackFixture.random([10, 4096, 70_000, 1 << 20], seed: 1, to: store)
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: origin)
            #expect(!container.isPresent(2) && !container.isComplete)
            #expect(try cache.read(container, 0..<4) == fixture.chunks)
            let requests = origin.counts.read.requests
            #expect(container.arePresent(0..<4) && container.isComplete)
            #expect(try cache.read(container, 0..<4) == fixture.chunks)
            for (index, entry) in fixture.entries.enumerated() {
                #expect(container.mapped(entry) == fixture.chunks[index])
            }
            #expect(origin.counts.read.requests == requests)
            #expect(container.presentBytes() == UInt64(fixture.chunks.map(\.count).reduce(0, +)))
            #expect(try cache.container(for: fixture.pack, origin: origin) === container)
            cache.close()
        }
        let requests = origin.counts.read.requests
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.isComplete)
        #expect(try cache.read(container, 0..<4) == fixture.chunks)
        #expect(origin.counts.read.requests == requests)
        cache.close()
    }

    @Test("a cold small file is one request, and one more for its pack's footer")
    func smallFile() throws {
        let fixture = try PackFixture.random(Array(repeating: 3000, count: 50), seed: 2, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        let part = FetchPart(container: container, chunks: 20..<21, hint: fixture.hint(20))
        #expect(try cache.read([part]) == [fixture.chunks[20]])
        cache.settle()
        #expect(origin.counts.read.requests == 2)
        #expect(origin.counts.read.bytes == 3024 + UInt64(fixture.pack.footerLength))
        #expect(container.isPresent(20) && !container.isPresent(21))
        for chunk in [3, 11, 49, 30] {
            let part = FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: fixture.hint(chunk))
            #expect(try cache.read([part]) == [fixture.chunks[chunk]])
        }
        #expect(origin.counts.read.requests == 2 + 4)
        cache.close()
    }

    @Test("a small file is answered before its pack's footer has come, with right bytes, and kept after")
    func answeredBeforeFooter() throws {
        let fixture = try PackFixture.random(Array(repeating: 3000, count: 50), seed: 2, to: store)
        let gated = GatedObjectStore(store) { $0.lowerBound > fixture.entries[49].frameOffset }
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: gated)
        let part = FetchPart(container: container, chunks: 20..<21, hint: fixture.hint(20))
        let answer = Monitor<Plain?>(nil)
        let reader = try Thread(name: "reader") {
            cache.fetch([part]) { result in
                let plain = (try? result.get()).map { Plain(bytes: Array($0.bytes(part: 0, chunk: 20))) }
                answer.withLock { $0 = plain }
                answer.wake()
            }
        }
        #expect(answer.wait { $0 } == fixture.chunks[20])
        #expect(!container.isPresent(20))
        gated.open()
        reader.join()
        cache.settle()
        #expect(container.isPresent(20))
        cache.close()
    }

    @Test("a pack that is hardly larger than its footer comes as one request, from either end")
    func wholePack() throws {
        for hinted in [false, true] {
            let fixture = try PackFixture.random(Array(repeating: 3000, count: 50), seed: 2, to: store)
            let cache = try CacheFixture().open(wholePacks: true)
            let before = origin.counts.read.requests
            let container = try cache.container(for: fixture.pack, origin: origin)
            let part = FetchPart(container: container, chunks: 20..<21, hint: hinted ? fixture.hint(20) : nil)
            #expect(try cache.read([part]) == [fixture.chunks[20]])
            cache.settle()
            #expect(container.isComplete)
            #expect(origin.counts.read.requests - before == 1)
            for chunk in 0..<50 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
            cache.close()
        }
    }

    @Test(
        "the first read of a large plain file needs no second round trip: its frame comes beside the footer")
    func speculation() throws {
        let fixture = try PackFixture.random(
            [1 << 20, 1 << 20, 1 << 20, 70_000], seed: 3, layout: .file, to: store)
        let frameEnd = fixture.pack.objectSize - UInt64(fixture.pack.footerLength)
        // The footer comes only after the frame was asked for.
        let gated = GatedObjectStore(store) { $0.lowerBound >= frameEnd }
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: gated)
        let part = FetchPart(container: container, bytes: (2 << 20)..<((2 << 20) + 4096))
        let opener = try Thread(name: "opener") {
            gated.waitUntilRead(fixture.entries[2].frameOffset)
            gated.open()
        }
        #expect(try cache.read([part]) == [fixture.chunks[2]])
        opener.join()
        #expect(gated.reads.count == 2)
        #expect(container.isPresent(2) && !container.isPresent(1))
        cache.close()
    }

    @Test("a guess is not made where the lengths speak against it, and a wrong one costs a request only")
    func noSpeculation() throws {
        let other = try PackFixture.random([600_000, 1 << 20, 500_000], seed: 3, layout: .file, to: store)
        let more = try PackFixture.random([600_000, 500_000, 500_000], seed: 4, layout: .file, to: store)
        let cache = try home.open()
        let unlike = try cache.container(for: more.pack, origin: origin)
        #expect(Speculation(unlike, bytes: 0..<4096) == nil)
        #expect(try cache.read([FetchPart(container: unlike, bytes: 650_000..<660_000)]) == [more.chunks[1]])
        cache.settle()
        #expect(origin.counts.read.requests == 2)
        // As long as three plain mebibytes would be, and cut elsewhere.
        let container = try cache.container(for: other.pack, origin: origin)
        #expect(Speculation(container, bytes: 0..<4096) != nil)
        let read = try cache.read([FetchPart(container: container, bytes: 650_000..<660_000)])
        #expect(read == [other.chunks[1]])
        cache.settle()
        #expect(origin.counts.read.requests <= 2 + 3)
        cache.close()
    }

    @Test("sixteen threads that miss the same chunk make one request")
    func singleFlight() throws {
        let fixture = try PackFixture.random([200_000], seed: 3, to: store)
        let slow = FaultyObjectStore(origin)
        for number in 1...20 { slow.on(.read, number, .delayed(milliseconds: 50)) }
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: slow)
        try inParallel(16) { _ in
            let part = FetchPart(container: container, chunks: 0..<1, hint: fixture.hint(0))
            let bytes = try cache.read([part])
            #expect(bytes == fixture.chunks)
        }
        cache.settle()
        #expect(origin.counts.read.requests == 2)
        cache.close()
    }

    @Test("neighbouring chunks come in one request, up to the largest range")
    func coalescing() throws {
        let fixture = try PackFixture.random(Array(repeating: 100_000, count: 40), seed: 4, to: store)
        var options = CacheOptions()
        options.maximumRangeBytes = 1 << 20
        let cache = try home.open(options)
        let container = try cache.container(for: fixture.pack, origin: origin)
        _ = try container.footer()
        #expect(origin.counts.read.requests == 1)
        #expect(try cache.read(container, 0..<40) == fixture.chunks)
        #expect(origin.counts.read.requests == 5)
        #expect(container.isComplete)
        cache.close()
    }

    @Test("a range is not broken by chunks that are there already, and skips them when they are many")
    func holes() throws {
        let fixture = try PackFixture.random(Array(repeating: 20_000, count: 30), seed: 5, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        _ = try cache.read(container, 5..<6)
        _ = try cache.read(container, 10..<20)
        let before = origin.counts.read
        #expect(try cache.read(container, 0..<30) == fixture.chunks)
        #expect(origin.counts.read.requests - before.requests == 2)
        #expect(origin.counts.read.bytes - before.bytes < 21 * 20_024)
        cache.close()
    }

    @Test("a reader that runs forward needs few requests and no byte twice")
    func readahead() throws {
        let fixture = try PackFixture.random(
            Array(repeating: 64 << 10, count: 400), seed: 6, layout: .file, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        for chunk in 0..<400 where !container.isPresent(chunk) {
            #expect(try cache.read(container, chunk..<(chunk + 1)) == [fixture.chunks[chunk]])
        }
        #expect(container.isComplete)
        #expect(origin.counts.read.requests < 20)
        #expect(origin.counts.read.bytes < fixture.pack.objectSize + 1)
        cache.close()
    }

    @Test("a reader that jumps in a large file gets hardly more than it asks for")
    func randomReads() throws {
        let fixture = try PackFixture.random(
            Array(repeating: 8 << 10, count: 4000), seed: 7, layout: .file, to: store)
        var options = CacheOptions()
        options.readahead.first = 16 << 10
        let cache = try home.open(options)
        let container = try cache.container(for: fixture.pack, origin: origin)
        _ = try container.footer()
        let before = origin.counts.read.bytes
        var random = SplitMix64(seed: 8)
        var needed = Set<Int>()
        for _ in 0..<300 {
            let chunk = Int(random.next() % 4000)
            needed.insert(chunk)
            #expect(try cache.read(container, chunk..<(chunk + 1)) == [fixture.chunks[chunk]])
        }
        cache.settle()
        let bytes = Double(needed.count * (8 << 10))
        #expect(Double(origin.counts.read.bytes - before) / bytes < 1.2)
        cache.close()
    }

    @Test("small files in random order: after a few misses the rest of the pack comes in large ranges")
    func randomEpoch() throws {
        let fixture = try PackFixture.random(Array(repeating: 30_000, count: 600), seed: 9, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        var random = SplitMix64(seed: 8)
        for chunk in (0..<600).shuffled(using: &random) {
            if container.isPresent(chunk) {
                #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
                continue
            }
            let part = FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: fixture.hint(chunk))
            #expect(try cache.read([part]) == [fixture.chunks[chunk]])
        }
        cache.settle()
        #expect(container.isComplete)
        // The readers may outrun the large ranges for a while.
        #expect(origin.counts.read.requests < 200)
        cache.close()
    }

    @Test("many threads over many packs, each chunk fetched once")
    func parallel() throws {
        let fixtures = try (0..<6).map { index in
            try PackFixture.random(Array(repeating: 20_000, count: 64), seed: UInt64(20 + index), to: store)
        }
        let cache = try home.open()
        let containers = try fixtures.map { try cache.container(for: $0.pack, origin: origin) }
        try inParallel(12) { thread in
            var random = SplitMix64(seed: UInt64(thread))
            for _ in 0..<200 {
                let pack = Int(random.next() % 6)
                let first = Int(random.next() % 60)
                let chunks = first..<(first + 1 + Int(random.next() % 4))
                let bytes = try cache.read(containers[pack], chunks)
                #expect(bytes == Array(fixtures[pack].chunks[chunks]))
            }
        }
        let statistics = cache.statistics()
        #expect(statistics.verifiedChunks <= 6 * 64)
        #expect(statistics.failedChunks == 0)
        #expect(statistics.containers == 6)
        cache.close()
        #expect(NodeCache.statistics(of: home.directory).fetchedBytes == statistics.fetchedBytes)
    }

    @Test("only a complete container is lent, for reading only")
    func lending() throws {
        let fixture = try PackFixture.random([100_000, 50_000], seed: 9, layout: .file, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        _ = try cache.read(container, 0..<1)
        #expect(throws: CacheError.self) { try container.lend() }
        _ = try cache.read(container, 1..<2)
        let descriptor = try container.lend()
        #expect(try container.lend() == descriptor)
        let duplicate = FileDescriptor(owning: dup(descriptor))
        var bytes = [UInt8](repeating: 0, count: 150_000)
        #expect(try bytes.withUnsafeMutableBytes { try duplicate.read(into: $0, at: 0) } == 150_000)
        #expect(Plain(bytes: bytes) == Plain(bytes: fixture.chunks[0].bytes + fixture.chunks[1].bytes))
        #expect(throws: Errno.self) { try [1].withUnsafeBytes { try duplicate.write($0, at: 0) } }
        cache.close()
    }

    @Test("chunks that a pack does not have, and hints that lie, are errors")
    func badRequests() throws {
        let fixture = try PackFixture.random([5000, 5000], seed: 10, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        for chunks in [2..<3, 0..<3, -1..<1, 1..<1] {
            #expect(throws: CacheError.self) { try cache.read(container, chunks) }
        }
        var hint = fixture.hint(0)
        hint.containerOffset = UInt64.max - 10
        #expect(throws: CacheError.self) {
            try cache.read([FetchPart(container: container, chunks: 0..<1, hint: hint)])
        }
        hint = fixture.hint(0)
        hint.frameOffset = fixture.pack.objectSize
        #expect(throws: CacheError.self) {
            try cache.read([FetchPart(container: container, chunks: 0..<1, hint: hint)])
        }
        _ = try container.footer()
        hint = fixture.hint(0)
        hint.containerOffset = 4096
        hint.hash = fixture.entries[1].hash
        #expect(throws: CacheError.self) {
            try cache.read([FetchPart(container: container, chunks: 0..<1, hint: hint)])
        }
        cache.close()
        #expect(throws: CacheError.self) { try cache.read(container, 0..<1) }
    }
}
