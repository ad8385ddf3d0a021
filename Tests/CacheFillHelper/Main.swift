import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import NodeCache
import ObjectStore
import System

/// cache-fill-helper STORE CACHE SEED THREADS: fills a cache from every pack of a store in random order, to be
/// killed on the way. Writes a line `<pack> <chunk>` for each chunk once it was answered.
@main
enum Helper {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count == 5, let seed = UInt64(arguments[3]), let threads = Int(arguments[4]) else {
            exit(2)
        }
        do {
            let store = FileObjectStore(ByteString(arguments[1]))
            var options = CacheOptions()
            options.inlineFetches = threads
            options.fetchThreads = 1
            // As the test's own caches then are.
            if getenv("KAML_TEST_SEALED") != nil, let key = CacheKey.written((0..<32).map { 7 &+ $0 }) {
                options.keys = CacheKeys(current: key)
            }
            let cache = try NodeCache(directory: ByteString(arguments[2]), options: options) { _ in }
            let packs = try store.list("packs/").map { try reference(of: $0.key, in: store) }
            try inParallel(threads) { thread in
                var random = SplitMix64(seed: seed &+ UInt64(thread))
                for pack in packs.shuffled(using: &random) {
                    let container = try cache.container(for: pack, origin: store)
                    for chunk in (0..<Int(pack.chunkCount)).shuffled(using: &random) {
                        cache.fetch([FetchPart(container: container, chunks: chunk..<(chunk + 1))]) {
                            result in
                            guard case .success = result else { exit(3) }
                            let line = Array("\(pack.id) \(chunk)\n".utf8)
                            _ = write(1, line, line.count)
                        }
                    }
                }
            }
            cache.close()
        } catch {
            print(error)
            exit(1)
        }
    }

    /// A reference made from the pack itself, which a test may trust.
    private static func reference(of key: ObjectKey, in store: FileObjectStore) throws -> PackReference {
        let object = try store.readAll(key, limit: 64 << 20)
        return try object.withUnsafeBytes { object in
            guard let start = object.baseAddress, object.count > 48 else { throw Errno.invalid }
            let trailer = start + (object.count - 48)
            let footerLength = trailer.loadUnaligned(fromByteOffset: 32, as: UInt32.self)
            let footer = start + (object.count - Int(footerLength))
            guard let id = PackID(hex: String(key.text.suffix(32))),
                let layout = PackLayout(
                    rawValue: UInt32(footer.loadUnaligned(fromByteOffset: 10, as: UInt16.self)))
            else { throw Errno.invalid }
            return PackReference(
                id: id, footerHash: ContentHash(loading: trailer), objectSize: UInt64(object.count),
                containerSize: footer.loadUnaligned(fromByteOffset: 24, as: UInt64.self),
                footerLength: footerLength,
                chunkCount: footer.loadUnaligned(fromByteOffset: 12, as: UInt32.self), layout: layout)
        }
    }
}
