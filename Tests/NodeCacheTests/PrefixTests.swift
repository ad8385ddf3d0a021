import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// Frames that are stored as differences from chunks of other packs.
@Suite struct PrefixTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let origin: CountingObjectStore

    init() throws {
        home = try CacheFixture()
        origin = CountingObjectStore(store)
    }

    /// A pack of texts, and one of their next versions.
    private func versions(_ count: Int, length: Int = 30_000) throws -> (old: PackFixture, new: PackFixture) {
        let texts = (0..<count).map { text(length, seed: UInt64($0)) }
        let old = try PackFixture.write(texts, forms: Array(repeating: .zstd, count: count), to: store)
        let new = try PackFixture.write(
            texts.enumerated().map { edited($1, seed: UInt64($0)) },
            forms: (0..<count).map { .prefix(old, $0) },
            to: store)
        #expect(new.entries.allSatisfy { $0.codec == .zstdPrefix })
        return (old, new)
    }

    @Test("a node that has nothing fetches the bases too, neighbours together")
    func cold() throws {
        let (old, new) = try versions(40)
        let cache = try home.open()
        let container = try cache.container(for: new.pack, origin: origin)
        #expect(try cache.read(container, 0..<40) == new.chunks)
        // Two footers, one range of differences, one of bases.
        #expect(origin.counts.read.requests == 4)
        #expect(try cache.container(for: old.pack, origin: origin).isComplete)
        cache.close()
    }

    @Test("a node that has the old version fetches the difference only")
    func warm() throws {
        let (old, new) = try versions(40)
        let cache = try home.open()
        _ = try cache.read(try cache.container(for: old.pack, origin: origin), 0..<40)
        let before = origin.counts.read.bytes
        let container = try cache.container(for: new.pack, origin: origin)
        #expect(try cache.read(container, 0..<40) == new.chunks)
        #expect(origin.counts.read.bytes - before <= new.pack.objectSize)
        cache.close()
    }

    @Test("a hint of a prefix frame takes the footer")
    func hinted() throws {
        let (_, new) = try versions(3)
        let cache = try home.open()
        let container = try cache.container(for: new.pack, origin: origin)
        let part = FetchPart(container: container, chunks: 1..<2, hint: new.hint(1))
        #expect(try cache.read([part]) == [new.chunks[1]])
        cache.close()
    }

    @Test("a base that needs a base itself is damage, not a longer chain")
    func depthTwo() throws {
        let (_, new) = try versions(2)
        let third = try PackFixture.write(
            [edited(new.chunks[0].bytes, seed: 99), text(100, seed: 7)], forms: [.prefix(new, 0), .plain],
            to: store
        )
        let cache = try home.open()
        let container = try cache.container(for: third.pack, origin: origin)
        #expect(throws: CacheError.self) { try cache.read(container, 0..<1) }
        #expect(try cache.read(container, 1..<2) == [third.chunks[1]])
        cache.close()
    }

    @Test("a base that rotted on this node is fetched anew")
    func rottenBase() throws {
        let (old, new) = try versions(4)
        let cache = try home.open()
        let base = try cache.container(for: old.pack, origin: origin)
        _ = try cache.read(base, 0..<4)
        try CacheFixture.damage(home.dataPath(old.pack), at: old.entries[2].containerOffset + 17)
        let container = try cache.container(for: new.pack, origin: origin)
        #expect(try cache.read(container, 0..<4) == new.chunks)
        // It is hashed before it is shown to anybody again.
        #expect(!base.isPresent(2))
        #expect(try cache.read(base, 0..<4) == old.chunks)
        #expect(base.mapped(old.entries[2]) == old.chunks[2])
        cache.close()
    }

    @Test("a missing base pack fails its frames only, and says which")
    func missingBase() throws {
        let (old, new) = try versions(2)
        let mixed = try PackFixture.write(
            [edited(old.chunks[0].bytes, seed: 5), text(5000, seed: 50)], forms: [.prefix(old, 0), .zstd],
            to: store
        )
        try store.delete(old.pack.key)
        let cache = try home.open()
        let container = try cache.container(for: mixed.pack, origin: origin)
        #expect { try cache.read(container, 0..<2) } throws: { error in
            "\(error)".contains(old.pack.id.description)
        }
        #expect(container.isPresent(1))
        #expect(throws: CacheError.self) {
            try cache.read(try cache.container(for: new.pack, origin: origin), 0..<1)
        }
        cache.close()
    }

    @Test(
        "packs whose bases lie in one another, read by many threads with few to fetch: nobody waits for ever")
    func chained() throws {
        for round in 0..<20 {
            let count = 24
            let texts = (0..<count).map { text(6000, seed: UInt64(round * 1000 + $0)) }
            // Every second chunk of a pack is a difference from a plain one of the pack before.
            let seed = try PackFixture.write(texts, forms: Array(repeating: .zstd, count: count), to: store)
            let first = try PackFixture.write(
                texts.enumerated().map { edited($1, seed: UInt64($0)) },
                forms: (0..<count).map { $0.isMultiple(of: 2) ? .prefix(seed, $0) : .zstd }, to: store)
            let second = try PackFixture.write(
                texts.enumerated().map { edited(edited($1, seed: UInt64($0)), seed: 77) },
                forms: (0..<count).map { $0.isMultiple(of: 2) ? .zstd : .prefix(first, $0) }, to: store)
            let home = try CacheFixture()
            var options = CacheOptions()
            options.inlineFetches = round % 3
            options.fetchThreads = 1 + round % 2
            options.gapTolerance = round.isMultiple(of: 2) ? 0 : 64 << 10
            let cache = try home.open(options)
            let fixtures = [seed, first, second]
            let containers = try fixtures.map { try cache.container(for: $0.pack, origin: origin) }
            try inParallel(8) { thread in
                var random = SplitMix64(seed: UInt64(round * 100 + thread))
                for _ in 0..<30 {
                    let parts = (0..<2).map { _ in
                        let pack = Int(random.next() % 3)
                        let low = Int(random.next() % UInt64(count - 4))
                        return (pack, low..<(low + 4))
                    }
                    let bytes = try cache.read(
                        parts.map { FetchPart(container: containers[$0.0], chunks: $0.1) })
                    #expect(bytes == parts.flatMap { Array(fixtures[$0.0].chunks[$0.1]) })
                }
            }
            cache.close()
        }
    }

    @Test("what lies between bases does not come along, nor do prefix frames that lie between")
    func noGaps() throws {
        let store = MemoryObjectStore()
        let base = try PackFixture.write(
            (0..<3).map { text(9000, seed: 70 + $0) }, forms: [.zstd, .zstd, .zstd], to: store)
        let versions = [0, 1, 2].map { edited(base.chunks[$0].bytes, seed: UInt64(80 + $0)) }
        let fixture = try PackFixture.write(
            versions, forms: [.prefix(base, 0), .prefix(base, 1), .prefix(base, 2)], to: store)
        let home = try CacheFixture()
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        let ends = [0, 2].map { FetchPart(container: container, chunks: $0..<($0 + 1)) }
        #expect(try cache.read(ends) == [fixture.chunks[0], fixture.chunks[2]])
        let bases = try cache.container(for: base.pack, origin: store)
        #expect((0..<3).map(container.isPresent) == [true, false, true])
        #expect((0..<3).map(bases.isPresent) == [true, false, true])
        cache.close()
    }
}
