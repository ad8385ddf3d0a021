import ArgumentParser
import DatasetStore
import Glibc
import NodeCache
import ObjectStore
import System

/// How soon a cache serves that an earlier life left with many containers: sparse files of 64 MiB, with maps that say
/// everything is there.
struct CacheStart: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache-start", abstract: "Open a cache directory that has many containers.")

    @Option(help: "Where store and cache are made, and removed in the end.") var directory: String
    @Option(help: "Containers of 64 MiB.") var containers = 16_384
    @Option(help: "Times to open it.") var rounds = 5

    private static let containerBytes: UInt64 = 64 << 20
    private static let chunks = 256
    private static let chunkBytes = 4096

    func validate() throws {
        guard (2...(1 << 20)).contains(containers), (1...100).contains(rounds) else {
            throw ValidationError("a number is out of range")
        }
    }

    func run() throws {
        let home = ByteString(directory).appending(ByteString("start-\(getpid())"))
        let files = HostFileSystem()
        try files.makeDirectory(home, mode: 0o700)
        defer { ColdRead.remove(home, files) }
        let store = FileObjectStore(home.appending("store"))
        try store.createDirectory()
        let pack = try makePack(in: store)
        let place = home.appending("cache")
        do {
            let cache = try NodeCache(directory: place) { print($0) }
            try read(cache, try cache.container(for: pack, origin: store))
            cache.close()
        }
        try copyContainer(pack, below: place.appending("containers"), files)
        var ready: [Double] = []
        var counted: [Double] = []
        for _ in 0..<rounds {
            let start = HostClock().monotonicNanoseconds()
            let cache = try NodeCache(directory: place) { print($0) }
            try read(cache, try cache.container(for: pack, origin: store))
            ready.append(Self.milliseconds(since: start))
            while !cache.usage.isCounted { usleep(1000) }
            counted.append(Self.milliseconds(since: start))
            guard cache.usage.containers == UInt64(containers),
                cache.totals.filledBytes == UInt64(Self.chunks * Self.chunkBytes)
            else {
                throw ValidationError("the cache does not see what lies in its directory: \(cache.usage)")
            }
            cache.close()
        }
        print(#"{"ready_ms": \#(ready), "counted_ms": \#(counted), "containers": \#(containers)}"#)
    }

    private static func milliseconds(since start: UInt64) -> Double {
        Double(HostClock().monotonicNanoseconds() - start) / 1e6
    }

    private func read(_ cache: NodeCache, _ container: Container) throws {
        let answer = Monitor<Result<Void, CacheError>?>(nil)
        cache.fetch([FetchPart(container: container, chunks: 0..<Self.chunks)]) { result in
            answer.withLock { $0 = result.map { _ in () } }
            answer.wake()
        }
        try answer.wait { $0 }.get()
    }

    /// Makes the container's files again for `containers - 1` other packs, with the map that says it is complete.
    private func copyContainer(
        _ pack: PackReference, below folder: ByteString, _ files: HostFileSystem
    ) throws {
        func path(_ id: PackID, _ suffix: String) -> ByteString {
            folder.appending(ByteString(String(id.description.prefix(2)))).appending(
                ByteString("\(id).\(suffix)"))
        }
        let source = try files.open(path(pack.id, "map"), O_RDONLY)
        var map = [UInt8](repeating: 0, count: Int(try files.status(of: source).size))
        _ = try unsafe map.withUnsafeMutableBytes { try unsafe files.read(source, into: $0, at: 0) }
        for _ in 1..<containers {
            let id = PackID(random: HostRandom())
            // A map has the pack's id at 32.
            map.replaceSubrange(32..<48, with: id.bytes)
            try? files.makeDirectory(
                folder.appending(ByteString(String(id.description.prefix(2)))), mode: 0o700)
            let file = try files.open(path(id, "map"), O_WRONLY | O_CREAT, mode: 0o600)
            try unsafe map.withUnsafeBytes { try unsafe files.write(file, $0, at: 0) }
            let data = try files.open(path(id, "data"), O_WRONLY | O_CREAT, mode: 0o600)
            try files.truncate(data, to: Self.containerBytes)
        }
    }

    private func makePack(in store: any ObjectStore) throws -> PackReference {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: .slots, in: store)
        for _ in 0..<Self.chunks {
            try writer.appendPlain(HostRandom().bytes(Self.chunkBytes))
        }
        return try writer.publish()
    }
}
