import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// A store that lies, is cut short, or fails: an error or the right bytes, never wrong ones.
@Suite struct DamageTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture() }

    private func tinyPack() throws -> PackFixture {
        let base = try PackFixture.write([text(900, seed: 1)], to: store)
        return try PackFixture.write(
            [[1, 2, 3], text(700, seed: 2), edited(base.chunks[0].bytes, seed: 3)],
            forms: [.plain, .zstd, .prefix(base, 0)],
            to: store)
    }

    @Test("a bit flipped at any byte of a pack: an error or the right bytes, and good once it is mended")
    func everyByte() throws {
        let fixture = try tinyPack()
        let good = try store.readAll(fixture.pack.key, limit: 1 << 20)
        var errors = 0
        for index in good.indices {
            let home = try CacheFixture()
            var bad = good
            bad[index] ^= 1 << UInt8(index % 8)
            store.replace(fixture.pack.key, with: bad)
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: store)
            for chunk in 0..<3 {
                do throws(CacheError) {
                    let bytes = try cache.read(container, chunk..<(chunk + 1))
                    #expect(bytes == [fixture.chunks[chunk]], "byte \(index)")
                } catch {
                    errors += 1
                    #expect(error.code == .damaged, "byte \(index): \(error)")
                    #expect(error.description.contains(fixture.pack.id.description))
                    #expect(!container.isPresent(chunk))
                }
            }
            store.replace(fixture.pack.key, with: good)
            #expect(try cache.read(container, 0..<3) == fixture.chunks, "byte \(index)")
            // Without the syncs of an orderly end.
            cache.shutDown(markClean: false)
        }
        #expect(errors > good.count / 2)
    }

    @Test("one bad frame spares the others of its range")
    func oneBadFrame() throws {
        let fixture = try PackFixture.random(Array(repeating: 5000, count: 20), seed: 4, to: store)
        var bytes = try store.readAll(fixture.pack.key, limit: 1 << 20)
        bytes[Int(fixture.entries[7].frameOffset) + 100] ^= 1
        store.replace(fixture.pack.key, with: bytes)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect { try cache.read(container, 0..<20) } throws: { ($0 as? CacheError)?.chunk == 7 }
        for chunk in 0..<20 { #expect(container.isPresent(chunk) == (chunk != 7)) }
        cache.settle()
        #expect(cache.statistics().failedChunks == 2)
        cache.close()
    }

    @Test("a pack that is cut short gives what is left of it")
    func truncated() throws {
        let fixture = try PackFixture.random(Array(repeating: 5000, count: 10), seed: 5, to: store)
        let good = try store.readAll(fixture.pack.key, limit: 1 << 20)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        _ = try container.footer()
        store.replace(fixture.pack.key, with: Array(good.prefix(Int(fixture.entries[6].frameOffset) + 50)))
        #expect(throws: CacheError.self) { try cache.read(container, 0..<10) }
        for chunk in 0..<10 { #expect(container.isPresent(chunk) == (chunk < 6)) }
        store.replace(fixture.pack.key, with: good)
        #expect(try cache.read(container, 0..<10) == fixture.chunks)
        cache.close()
    }

    @Test("two packs that changed places are both refused, and a pack that is gone says so")
    func swapped() throws {
        let first = try PackFixture.random([5000, 6000], seed: 6, to: store)
        let second = try PackFixture.random([5000, 6000], seed: 7, to: store)
        let bytes = try [first, second].map { try store.readAll($0.pack.key, limit: 1 << 20) }
        store.replace(first.pack.key, with: bytes[1])
        store.replace(second.pack.key, with: bytes[0])
        let cache = try home.open()
        for fixture in [first, second] {
            let container = try cache.container(for: fixture.pack, origin: store)
            let hinted = FetchPart(container: container, chunks: 0..<1, hint: fixture.hint(0))
            #expect(throws: CacheError.self) { try cache.read([hinted]) }
            #expect(throws: CacheError.self) { try cache.read(container, 0..<2) }
        }
        try store.delete(first.pack.key)
        let container = try cache.container(for: first.pack, origin: store)
        #expect { try cache.read(container, 0..<1) } throws: { ($0 as? CacheError)?.code == .notFound }
        cache.close()
    }

    @Test("bytes that were hurt on the way are read again")
    func transientFlip() throws {
        let fixture = try PackFixture.random([50_000], seed: 8, to: store)
        let origin = FaultyObjectStore(store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        origin.on(.read, 1, .flippedBit(100_000))
        let part = FetchPart(container: container, chunks: 0..<1, hint: fixture.hint(0))
        #expect(try cache.read([part]) == fixture.chunks)
        #expect(cache.statistics().failedChunks == 1)
        cache.close()
    }

    @Test("a store that fails is asked again by the next read; a short read at once")
    func failingOrigin() throws {
        let fixture = try PackFixture.random([50_000, 100], seed: 9, to: store)
        let origin = FaultyObjectStore(store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        let part = FetchPart(container: container, chunks: 0..<1, hint: fixture.hint(0))
        origin.on(.read, 1, .fails(.unavailable))
        #expect { try cache.read([part]) } throws: { ($0 as? CacheError)?.code == .unavailable }
        origin.on(.read, 1, .shortRead)
        // The frame, cut short; the frame; then the footer: without it the bytes are answered, and not kept.
        origin.on(.read, 3, .fails(.unavailable))
        #expect(try cache.read([part]) == [fixture.chunks[0]])
        cache.settle()
        #expect(!container.isPresent(0))
        origin.on(.read, 1, .fails(.unavailable))
        #expect(throws: CacheError.self) { try container.footer() }
        #expect(try container.footer().chunkCount == 2)
        cache.close()
    }

    @Test("waiters are told of a failure too")
    func failureReachesAll() throws {
        let fixture = try PackFixture.random([50_000], seed: 10, to: store)
        let origin = FaultyObjectStore(store)
        origin.on(.read, 1, .delayed(milliseconds: 50))
        try store.delete(fixture.pack.key)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        try inParallel(8) { _ in
            #expect(throws: CacheError.self) {
                try cache.read([FetchPart(container: container, chunks: 0..<1, hint: fixture.hint(0))])
            }
        }
        cache.close()
    }
}
