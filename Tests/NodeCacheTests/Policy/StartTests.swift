import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

/// A cache that an earlier life left full.
@Suite struct StartTests {
    @Test("a terabyte of containers is taken over within a second")
    func terabyte() throws {
        let count = getenv("KAML_STRESS") == nil ? 2048 : 16_384
        let home = try CacheFixture()
        let store = MemoryObjectStore()
        // One footer, with which every map says what it has.
        let fixture = try PackFixture.random(Array(repeating: 4096, count: 64), seed: 1, to: store)
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: store)
            #expect(try cache.read(container, 0..<64) == fixture.chunks)
            cache.close()
        }
        let layout = CacheLayout(directory: home.directory)
        let files = HostFileSystem()
        let map = try readFile(layout.map(fixture.pack.id), limit: 1 << 20, files)
        for _ in 1..<count {
            let id = PackID(random: HostRandom())
            try? files.makeDirectory(layout.containerFolder(id), mode: 0o700)
            try replaceFile(layout.map(id), map, suffix: "t", files)
            let data = try files.open(layout.data(id), O_RDWR | O_CREAT, mode: 0o600)
            try files.truncate(data, to: 64 << 20)
        }
        let start = HostClock().monotonicNanoseconds()
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<64) == fixture.chunks)
        let ready = HostClock().monotonicNanoseconds() - start
        while !cache.usage.isCounted { usleep(1000) }
        let counted = HostClock().monotonicNanoseconds() - start
        print(
            "\(count) containers: first read after \(ready / 1_000_000) ms, counted after \(counted / 1_000_000) ms"
        )
        #expect(ready < 1_000_000_000)
        #expect(cache.usage.containers == UInt64(count))
        cache.close()
    }
}
