import DatasetStore
import Glibc
import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// What `kaml warm` asks of a cache, and takes back from it.
@Suite struct ResidencyTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let fixture: PackFixture

    init() throws {
        home = try CacheFixture()
        fixture = try PackFixture.random(Array(repeating: 9000, count: 70), seed: 1, layout: .file, to: store)
    }

    private func fill(_ chunks: Range<Int>) throws {
        let cache = try home.open()
        _ = try cache.read(try cache.container(for: fixture.pack, origin: store), chunks)
        cache.close()
    }

    @Test("a pack that was never read has nothing here, by chunks and by bytes")
    func nothing() throws {
        let cache = try home.open()
        let all = cache.residency(of: fixture.pack)
        #expect(all.chunks == 70 && all.presentChunks == 0 && all.presentBytes == 0 && !all.isComplete)
        #expect(!cache.residency(of: fixture.pack, bytes: 0..<9000).isComplete)
        #expect(try cache.evict(fixture.pack.id) == 0)
        cache.close()
    }

    @Test("what is there is counted, whether the container is open or not", arguments: [false, true])
    func counted(isOpen: Bool) throws {
        try fill(10..<66)
        let cache = try home.open()
        if isOpen { _ = try cache.container(for: fixture.pack, origin: store) }
        let all = cache.residency(of: fixture.pack)
        #expect(all.chunks == 70 && all.presentChunks == 56 && all.presentBytes == 56 * 9000)
        #expect(cache.residency(of: fixture.pack, chunks: 60..<70).presentChunks == 6)
        #expect(cache.residency(of: fixture.pack, bytes: (10 * 9000)..<(66 * 9000)).isComplete)
        let border = cache.residency(of: fixture.pack, bytes: (10 * 9000 - 1)..<(10 * 9000 + 1))
        #expect(border.chunks == 2 && border.presentChunks == 1)
        cache.close()
    }

    @Test("chunks that the next read would have to hash first are not counted")
    func untrusted() throws {
        try fill(0..<70)
        try CacheFixture.damage(home.mapPath(fixture.pack), at: 130)
        let cache = try home.open()
        #expect(cache.residency(of: fixture.pack).presentChunks == 0)
        cache.close()
    }

    @Test("an evicted container is gone from the disk, and comes again")
    func evict() throws {
        try fill(0..<70)
        let cache = try home.open()
        #expect(try cache.evict(fixture.pack.id) >= 70 * 9000)
        #expect(access(home.dataPath(fixture.pack).description, F_OK) != 0)
        #expect(access(home.mapPath(fixture.pack).description, F_OK) != 0)
        #expect(cache.residency(of: fixture.pack).presentChunks == 0)
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<70) == fixture.chunks)
        cache.close()
    }

    @Test("a container that this process has open is not evicted")
    func open() throws {
        try fill(0..<70)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect { try cache.evict(fixture.pack.id) } throws: { ($0 as? CacheError)?.code == .inUse }
        #expect(container.isComplete)
        cache.close()
        #expect { try cache.evict(fixture.pack.id) } throws: { ($0 as? CacheError)?.code == .closed }
    }
}
