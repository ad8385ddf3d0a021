import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// Manifest images that are kept in files.
@Suite struct ManifestCacheTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let origin: CountingObjectStore
    let id: ContentHash
    let image: [UInt8]

    init() throws {
        home = try CacheFixture()
        origin = CountingObjectStore(store)
        image = text(100_001, seed: 1)
        var encoder = FrameEncoder(level: 3)
        id = try ManifestObjects(store: store).put(.manifestRoot, image, encoder: &encoder).id
    }

    private func read(_ cache: NodeCache) throws -> [UInt8] {
        let image = try cache.manifests(origin: ManifestObjects(store: origin)).root(id)
        return withExtendedLifetime(image) { Array(image.bytes) }
    }

    @Test("an image is fetched once, by this life of the cache and the next")
    func once() throws {
        for _ in 0..<2 {
            let cache = try home.open()
            #expect(try read(cache) == image)
            #expect(try read(cache) == image)
            cache.close()
        }
        #expect(origin.counts.read.requests == 1)
        #expect(NodeCache.statistics(of: home.directory).manifestBytes > 0)
    }

    @Test("a file that was damaged at any place is fetched anew")
    func damaged() throws {
        let path = CacheLayout(directory: home.directory).manifest(id)
        let cache = try home.open()
        _ = try read(cache)
        let size = try HostFileSystem().status(of: path).size
        for offset in stride(from: 0, to: size, by: 977) {
            try CacheFixture.damage(path, at: offset)
            #expect(try read(cache) == image, "byte \(offset)")
        }
        for offset in (size - 64)..<size {
            try CacheFixture.damage(path, at: offset)
            #expect(try read(cache) == image, "byte \(offset)")
        }
        for length in [0, 1, 63, 64, size - 1] {
            try FileDescriptor.open(path, 2).truncate(to: length)
            #expect(try read(cache) == image, "length \(length)")
        }
        cache.close()
    }

    @Test("without a disk the image stays in memory")
    func fullDisk() throws {
        let files = FaultyFileSystem()
        let cache = try home.open(files: files)
        files.always(.write, .noSpace)
        #expect(try read(cache) == image)
        files.always(.write, nil)
        files.always(.open, .inputOutput)
        #expect(try read(cache) == image)
        cache.close()
    }

    @Test("a root is not taken for a shard")
    func kinds() throws {
        let cache = try home.open()
        _ = try read(cache)
        let source = cache.manifests(origin: ManifestObjects(store: origin))
        #expect(throws: StoreError.self) { try source.shard(id) }
        cache.close()
    }
}
