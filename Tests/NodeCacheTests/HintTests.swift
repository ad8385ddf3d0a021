import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// What a manifest's record says of a chunk is never taken for the chunk's place in a container.
@Suite struct HintTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let origin: CountingObjectStore

    init() throws {
        home = try CacheFixture()
        origin = CountingObjectStore(store)
    }

    private func read(
        _ cache: NodeCache, _ container: Container, _ chunk: Int, _ hint: ChunkEntry
    ) throws(CacheError) -> [Plain] {
        try cache.read([FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: hint)])
    }

    @Test(
        "a hint that puts right bytes in a wrong place fails, and writes nothing", arguments: [false, true])
    func misplaced(knowsFooter: Bool) throws {
        let fixture = try PackFixture.random([4096, 4096, 4096], seed: 1, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        if knowsFooter { _ = try container.footer() }
        var hint = fixture.hint(0)
        hint.containerOffset = fixture.entries[1].containerOffset
        if knowsFooter {
            #expect { try read(cache, container, 0, hint) } throws: { ($0 as? CacheError)?.code == .damaged }
        } else {
            // Its bytes are what its hash says, whatever their place: answered, and not kept.
            #expect(try read(cache, container, 0, hint) == [fixture.chunks[0]])
        }
        cache.settle()
        #expect(!container.isPresent(0) && !container.isPresent(1))
        // Other bytes of the pack under a chunk's number.
        hint = fixture.hint(1)
        #expect { try read(cache, container, 0, hint) } throws: { ($0 as? CacheError)?.code == .damaged }
        #expect(try cache.read(container, 0..<3) == fixture.chunks)
        for chunk in 0..<3 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        // And of a chunk that is there already.
        hint = fixture.hint(0)
        hint.containerOffset = fixture.entries[1].containerOffset
        #expect { try read(cache, container, 0, hint) } throws: { ($0 as? CacheError)?.code == .damaged }
        cache.close()
    }

    @Test("a chunk that is vouched for beside a footer that rotted on the disk is read, by all who ask")
    func rottenFooter() throws {
        let fixture = try PackFixture.random([4096, 4096, 4096], seed: 3, to: store)
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: origin)
            #expect(try cache.read(container, 0..<3) == fixture.chunks)
            cache.close()
        }
        try CacheFixture.damage(
            home.mapPath(fixture.pack), at: UInt64(ContainerMap.footerOffset(fixture.pack) + 70))
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.isPresent(1) && container.localFooter() == nil)
        for _ in 0..<3 { #expect(try read(cache, container, 1, fixture.hint(1)) == [fixture.chunks[1]]) }
        #expect(try cache.read(container, 0..<3) == fixture.chunks)
        cache.close()
    }

    @Test("with a damaged footer a small file is still read, and not kept")
    func damagedFooter() throws {
        let fixture = try PackFixture.random([4096, 4096], seed: 2, to: store)
        var bytes = try store.readAll(fixture.pack.key, limit: 1 << 20)
        bytes[bytes.count - 60] ^= 1
        store.replace(fixture.pack.key, with: bytes)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(try read(cache, container, 1, fixture.hint(1)) == [fixture.chunks[1]])
        #expect(!container.isPresent(1))
        cache.close()
    }
}
