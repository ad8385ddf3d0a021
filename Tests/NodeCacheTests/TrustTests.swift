import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// What a life of the cache believes of the one before.
@Suite struct TrustTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let origin: CountingObjectStore
    let fixture: PackFixture

    init() throws {
        home = try CacheFixture()
        origin = CountingObjectStore(store)
        fixture = try PackFixture.random(Array(repeating: 9000, count: 10), seed: 1, to: store)
    }

    private func options(boot: UInt8, distrust: Bool = false) -> CacheOptions {
        var options = CacheOptions()
        options.bootID = Array(repeating: boot, count: 16)
        options.distrust = distrust
        return options
    }

    /// One life: reads some chunks and ends.
    private func live(_ options: CacheOptions, _ chunks: Range<Int>, clean: Bool) throws {
        let cache = try home.open(options)
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(try cache.read(container, chunks) == Array(fixture.chunks[chunks]))
        cache.shutDown(markClean: clean)
    }

    @Test("a killed process loses nothing")
    func killed() throws {
        try live(options(boot: 1), 2..<8, clean: false)
        let requests = origin.counts.read.requests
        let cache = try home.open(options(boot: 1))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.arePresent(2..<8))
        #expect(try cache.read(container, 2..<8) == Array(fixture.chunks[2..<8]))
        #expect(origin.counts.read.requests == requests)
        cache.close()
    }

    @Test("after an orderly end a reboot changes nothing")
    func cleanReboot() throws {
        try live(options(boot: 1), 0..<5, clean: true)
        let cache = try home.open(options(boot: 2))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.arePresent(0..<5))
        #expect(cache.statistics().recheckedChunks == 0)
        cache.close()
    }

    @Test("after an unclean reboot chunks are hashed at first use; good ones stay, bad ones are fetched")
    func uncleanReboot() throws {
        try live(options(boot: 1), 0..<10, clean: false)
        try CacheFixture.damage(home.dataPath(fixture.pack), at: fixture.entries[4].containerOffset + 8999)
        let before = origin.counts.read
        let cache = try home.open(options(boot: 2))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(!container.isPresent(0) && !container.isComplete)
        #expect(throws: CacheError.self) { try container.lend() }
        #expect(try cache.read(container, 0..<10) == fixture.chunks)
        #expect(container.isComplete)
        #expect(container.mapped(fixture.entries[4]) == fixture.chunks[4])
        #expect(origin.counts.read.requests - before.requests == 1)
        #expect(origin.counts.read.bytes - before.bytes == 9024)
        #expect(cache.statistics().recheckedChunks == 10)
        #expect(cache.statistics().rejectedChunks == 1)
        cache.close()
    }

    @Test("with the store hanging, what is on disk is hashed again and read")
    func hangingStore() throws {
        let other = try PackFixture.random(Array(repeating: 9000, count: 10), seed: 2, to: store)
        try live(options(boot: 1), 0..<10, clean: false)
        let hanging = GatedObjectStore(store) { _ in true }
        var options = options(boot: 2)
        (options.fetchThreads, options.inlineFetches) = (1, 0)
        let cache = try home.open(options)
        let away = try cache.container(for: other.pack, origin: hanging)
        for chunk in 0..<3 { cache.fetch([FetchPart(container: away, chunks: chunk..<(chunk + 1))]) { _ in } }
        let container = try cache.container(for: fixture.pack, origin: hanging)
        #expect(
            try cache.read([FetchPart(container: container, chunks: 0..<10)], settles: false)
                == fixture.chunks)
        #expect(cache.statistics().recheckedChunks == 10)
        hanging.open()
        cache.settle()
        cache.close()
    }

    @Test("a wrong description of a pack takes neither its name nor its files", arguments: [false, true])
    func wrongReference(isWarm: Bool) throws {
        var wrong = fixture.pack
        wrong.footerHash = ContentHash.of(.chunk, [])
        if isWarm { try live(options(boot: 1), 0..<10, clean: true) }
        let cache = try home.open(options(boot: 1))
        let bad = try cache.container(for: wrong, origin: origin)
        #expect(throws: CacheError.self) { try cache.read(bad, 0..<1) }
        let requests = origin.counts.read.requests
        let good = try cache.container(for: fixture.pack, origin: origin)
        #expect(good.isComplete == isWarm)
        #expect(try cache.read(good, 0..<10) == fixture.chunks)
        for chunk in 0..<10 { #expect(good.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        if isWarm { #expect(origin.counts.read.requests == requests) }
        // Confirmed, it stays.
        #expect(throws: CacheError.self) { try cache.container(for: wrong, origin: origin) }
        cache.close()
    }

    @Test("trust that was earned again in this boot outlives a kill")
    func trustIsKept() throws {
        try live(options(boot: 1), 0..<10, clean: false)
        try live(options(boot: 2), 0..<3, clean: false)
        let cache = try home.open(options(boot: 2))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.arePresent(0..<3) && !container.isPresent(3))
        cache.close()
    }

    @Test("an orderly end vouches for what was trusted only")
    func cleanAfterUnclean() throws {
        try live(options(boot: 1), 0..<10, clean: false)
        try live(options(boot: 2), 0..<3, clean: true)
        let cache = try home.open(options(boot: 3))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(container.arePresent(0..<3) && !container.isPresent(3))
        cache.close()
    }

    @Test("distrust drops what earlier lives vouched for, clean or not")
    func distrust() throws {
        for clean in [true, false] {
            try live(options(boot: 1), 0..<10, clean: clean)
            let cache = try home.open(options(boot: 1, distrust: true))
            let container = try cache.container(for: fixture.pack, origin: origin)
            #expect(!container.isPresent(0))
            #expect(try cache.read(container, 0..<10) == fixture.chunks)
            cache.close()
        }
    }

    @Test("a map that rotted on the disk is not believed", arguments: [0, 8, 20, 40, 112, 128, 136])
    func rottenMap(_ offset: Int) throws {
        try live(options(boot: 1), 0..<3, clean: true)
        try CacheFixture.damage(home.mapPath(fixture.pack), at: UInt64(offset))
        let cache = try home.open(options(boot: 2))
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(!container.isPresent(4))
        #expect(try cache.read(container, 0..<10) == fixture.chunks)
        for chunk in 0..<10 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        cache.close()
    }

    @Test("after a sync that failed at the end nothing is believed, in this boot either")
    func failedSync() throws {
        let files = FaultyFileSystem()
        let cache = try home.open(options(boot: 1), files: files)
        _ = try cache.read(try cache.container(for: fixture.pack, origin: origin), 0..<10)
        files.always(.sync, .inputOutput)
        cache.close()
        for boot: UInt8 in [1, 2] {
            let next = try home.open(options(boot: boot))
            #expect(!(try next.container(for: fixture.pack, origin: origin)).isPresent(0))
            next.shutDown(markClean: false)
        }
    }

    @Test("before a clean map changes, the change of its mark is durable")
    func dirtyMarkFirst() throws {
        try live(options(boot: 1), 0..<3, clean: true)
        let files = FaultyFileSystem()
        let cache = try home.open(options(boot: 1), files: files)
        let container = try cache.container(for: fixture.pack, origin: origin)
        let before = files.count(.sync)
        _ = try cache.read(container, 5..<6)
        #expect(files.count(.sync) == before + 1)
        _ = try cache.read(container, 7..<8)
        #expect(files.count(.sync) == before + 1)
        cache.close()
    }

    @Test("a scrub finds what rotted, and the next read mends it")
    func scrub() throws {
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: origin)
        _ = try cache.read(container, 0..<10)
        for chunk in [2, 9] {
            try CacheFixture.damage(home.dataPath(fixture.pack), at: fixture.entries[chunk].containerOffset)
        }
        cache.close()

        let next = try home.open()
        var seen = 0
        let report = try next.scrub { _ in seen += 1 }
        #expect(seen == 1)
        #expect(
            report.chunks == 10 && report.badChunks == 2 && report.bytes == 90_000
                && report.unknownChunks == 0)
        let mended = try next.container(for: fixture.pack, origin: origin)
        #expect(!mended.isPresent(2) && !mended.isPresent(9) && mended.isPresent(3))
        #expect(try next.read(mended, 0..<10) == fixture.chunks)
        #expect(try next.scrub().badChunks == 0)
        next.close()
    }

    @Test("a scrub without a footer has the chunks hashed at their next use")
    func scrubWithoutFooter() throws {
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: origin)
            _ = try cache.read([FetchPart(container: container, chunks: 3..<4, hint: fixture.hint(3))])
            cache.settle()
            cache.close()
        }
        try CacheFixture.damage(home.dataPath(fixture.pack), at: fixture.entries[3].containerOffset)
        try CacheFixture.damage(
            home.mapPath(fixture.pack), at: UInt64(ContainerMap.footerOffset(fixture.pack)))
        let cache = try home.open()
        #expect(try cache.scrub().unknownChunks == 1)
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(!container.isPresent(3))
        let part = FetchPart(container: container, chunks: 3..<4, hint: fixture.hint(3))
        #expect(try cache.read([part]) == [fixture.chunks[3]])
        cache.close()
    }

    @Test("a scrub of a map with a rotten header does not keep the pack from its readers")
    func scrubOfARottenHeader() throws {
        do {
            let cache = try home.open()
            _ = try cache.read(try cache.container(for: fixture.pack, origin: origin), 0..<10)
            cache.close()
            #expect { try cache.scrub() } throws: { ($0 as? CacheError)?.code == .closed }
        }
        // In the hash of the footer.
        try CacheFixture.damage(home.mapPath(fixture.pack), at: 50)
        let cache = try home.open()
        #expect(try cache.scrub().containers == 1)
        let container = try cache.container(for: fixture.pack, origin: origin)
        #expect(try cache.read(container, 0..<10) == fixture.chunks)
        #expect(container.isComplete)
        cache.close()
    }
}
