import DatasetStore
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

/// Chunks that wait in memory for their readers.
@Suite struct RecentChunksTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture() }

    private func container(_ cache: NodeCache, chunks: Int) throws -> Container {
        let fixture = try PackFixture.random(Array(repeating: 5000, count: chunks), seed: 1, to: store)
        return try cache.container(for: fixture.pack, origin: store)
    }

    @Test("a kept block stays until its reader has had all of it")
    func untilRead() throws {
        let cache = try home.open()
        let container = try container(cache, chunks: 2)
        let pool = BlockPool()
        let recent = RecentChunks(limit: 4 * Block.capacity, clock: ManualTime())
        let block = pool.take()
        #expect(recent.reserve())
        recent.enter(
            container,
            [
                (0, HeldChunk(block: block, range: 0..<5000)),
                (1, HeldChunk(block: block, range: 8192..<13192)),
            ])
        #expect(container.holdsRecent)
        #expect(recent.take(container, 1, reading: 5000)?.range == 8192..<13192)
        #expect(recent.take(container, 0, reading: 2000)?.range == 0..<5000)
        #expect(recent.keptBytes == Block.capacity)
        _ = recent.take(container, 0, reading: 3000)
        #expect(recent.take(container, 0, reading: 1) == nil)
        #expect(recent.keptBytes == 0)
        #expect(!container.holdsRecent)
        #expect(container.mountsHaveIt)
        cache.close()
    }

    @Test("no more is kept than the limit, until what nobody came for has made room")
    func bounded() throws {
        let cache = try home.open()
        let container = try container(cache, chunks: 3)
        let pool = BlockPool()
        let clock = ManualTime()
        let recent = RecentChunks(limit: 2 * Block.capacity, clock: clock)
        func keep(_ chunk: Int) -> Bool {
            guard recent.reserve() else { return false }
            recent.enter(container, [(chunk, HeldChunk(block: pool.take(), range: 0..<5000))])
            return true
        }
        #expect(keep(0))
        #expect(keep(1))
        #expect(!keep(2))
        #expect(recent.take(container, 2, reading: 0) == nil)
        #expect(recent.take(container, 0, reading: 0) != nil)
        clock.pass(3_000_000_000)
        #expect(recent.reserve())
        recent.giveBack()
        #expect(keep(2))
        #expect(recent.take(container, 0, reading: 0) == nil)
        #expect(recent.keptBytes == Block.capacity)
        #expect(!container.mountsHaveIt)
        cache.close()
    }

    @Test("what a sequential reader is read ahead of comes from memory, and is on disk all the same")
    func sequential() throws {
        let fixture = try PackFixture.random(
            Array(repeating: 1 << 20, count: 24), seed: 3, layout: .file, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        for chunk in 0..<24 {
            #expect(try cache.read(container, chunk..<(chunk + 1)) == [fixture.chunks[chunk]])
        }
        #expect(container.isComplete)
        #expect(cache.scheduler.recent.keptBytes == 0)
        for chunk in 0..<24 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        cache.close()
    }

    @Test("a reader that comes from another pack's end is read ahead of while its first file is on its way")
    func nextPack() throws {
        let packs = try (0..<2).map {
            try PackFixture.random(Array(repeating: 50_000, count: 60), seed: UInt64(10 + $0), to: store)
        }
        let (first, second) = (packs[0], packs[1])
        let cache = try home.open()
        let before = try cache.container(for: first.pack, origin: store)
        for chunk in 0..<60 { _ = try cache.read(before, chunk..<(chunk + 1)) }
        let gated = GatedObjectStore(store) { $0.lowerBound == second.entries[0].frameOffset }
        let container = try cache.container(for: second.pack, origin: gated)
        let reader = try Thread(name: "reader") {
            let part = FetchPart(container: container, chunks: 0..<1, hint: second.hint(0))
            #expect((try? cache.read([part])) == [second.chunks[0]])
        }
        gated.waitUntilRead(second.entries[1].frameOffset)
        #expect(!container.isPresent(0))
        gated.open()
        reader.join()
        cache.close()
    }

    @Test("small files that lie side by side are one write")
    func oneWrite() throws {
        let fixture = try PackFixture.random(Array(repeating: 5000, count: 40), seed: 4, to: store)
        let files = FaultyFileSystem()
        let cache = try home.open(files: files)
        let container = try cache.container(for: fixture.pack, origin: store)
        _ = try container.footer()
        cache.settle()
        let before = files.count(.write)
        #expect(try cache.read(container, 0..<40) == fixture.chunks)
        // The bytes, perhaps their last page alone, and one word of the map.
        #expect(files.count(.write) - before <= 3)
        for chunk in 0..<40 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        cache.close()
    }
}

/// Time that passes when it is told to.
private final class ManualTime: Clock {
    private let time = Atomic<UInt64>(1)
    func pass(_ nanoseconds: UInt64) { time.wrappingAdd(nanoseconds, ordering: .relaxed) }
    func monotonicNanoseconds() -> UInt64 { time.load(ordering: .relaxed) }
    func now() -> Timestamp { Timestamp(seconds: 0, nanoseconds: 0) }
}
