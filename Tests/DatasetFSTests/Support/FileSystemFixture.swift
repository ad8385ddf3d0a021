import Chunking
import DatasetStore
import KamlTestSupport
import NodeCache
import ObjectStore
import Synchronization
import System

@testable import DatasetFS

/// A store with packs and manifests that were written by hand, and one cache for every snapshot of it.
final class FileSystemFixture: Sendable {
    let home: TemporaryDirectory
    let store = MemoryObjectStore()
    let origin: CountingObjectStore
    let cache: NodeCache
    /// Objects of imported files.
    let source = MemoryObjectSource()
    /// What the file systems told.
    let notices = Mutex<[String]>([])

    init() throws {
        home = try TemporaryDirectory()
        origin = CountingObjectStore(store)
        cache = try NodeCache(directory: home.path.appending("cache"), sources: KnownSources(source)) { _ in }
    }

    deinit { cache.close() }

    /// A pack of chunks as they are.
    func pack(_ chunks: [[UInt8]], layout: PackLayout) throws -> (pack: PackReference, entries: [ChunkEntry])
    {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: layout, in: store)
        var entries: [ChunkEntry] = []
        var offset: UInt64 = 0
        for chunk in chunks {
            try chunk.withUnsafeBytes { bytes in
                let encoded = EncodedChunk(
                    hash: ContentHash.of(.chunk, bytes), plainLength: bytes.count, codec: .none,
                    payload: bytes)
                entries.append(try writer.append(encoded, fileOffset: layout == .file ? offset : nil))
            }
            offset += UInt64(chunk.count)
        }
        return (try writer.publish(), entries)
    }

    /// A reference pack of small objects, put into the source.
    func references(_ objects: [[UInt8]]) throws -> (pack: PackReference, entries: [ChunkEntry]) {
        for (index, bytes) in objects.enumerated() { source.put(ByteString("key\(index)"), bytes) }
        var builder = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .slots, location: source.location)
        var entries: [ChunkEntry] = []
        try source.list { object throws(ObjectStoreError) in
            entries.append(builder.append(ReferencedObject(object)).entry)
            return true
        }
        return (try builder.publish(in: store), entries)
    }

    /// A snapshot with these files in its root: the first has inode 2, the next inode 3.
    func mount(
        _ files: [(size: Int, contents: ManifestEntry.Contents)], clock: any Clock = HostClock(),
        throughCache: Bool = false
    ) throws -> DatasetFS {
        let objects = ManifestObjects(store: store)
        var writer = ManifestWriter(objects: objects, parent: nil)
        let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 0)
        try writer.append(
            ManifestEntry(
                directory: "", name: "", mode: 0o040755, userID: 0, groupID: 0, modified: time, size: 0,
                contents: .directory))
        for (index, file) in files.enumerated() {
            try writer.append(
                ManifestEntry(
                    directory: "", name: ByteString("file\(index)"), mode: 0o100644, userID: 0, groupID: 0,
                    modified: time, size: UInt64(file.size), contents: file.contents))
        }
        let id = try writer.finish().snapshot
        let source: any ManifestSource =
            throughCache ? cache.manifests(origin: objects) : StoreManifestSource(objects: objects)
        let snapshot = try Snapshot(id, from: source)
        return try DatasetFS(
            snapshot, name: throughCache ? "data@\(id.hex.prefix(12))" : "data@1", cache: cache,
            origin: origin, clock: clock
        ) {
            [self] line in
            notices.withLock { $0.append(line) }
        }
    }

    var told: [String] { notices.withLock { $0 } }
}

extension DatasetFS {
    private final class Answer: Sendable {
        let value = Monitor<Result<[UInt8], Errno>?>(nil)
    }

    /// Reads and waits.
    func read(_ inode: UInt64, at offset: UInt64 = 0, _ length: Int) throws(Errno) -> [UInt8] {
        let answer = Answer()
        let context = Unmanaged.passRetained(answer).toOpaque()
        let completion = ReadCompletion(context: context) { context, segments, count, errno in
            let answer = Unmanaged<Answer>.fromOpaque(context).takeRetainedValue()
            var bytes: [UInt8] = []
            if let segments {
                for segment in UnsafeBufferPointer(
                    start: segments.assumingMemoryBound(to: ReadSegment.self), count: count)
                {
                    bytes += UnsafeRawBufferPointer(start: segment.base, count: segment.length)
                }
            }
            answer.value.withLock { $0 = errno <= 0 ? .success(bytes) : .failure(Errno(rawValue: errno)) }
            answer.value.wake()
        }
        read(Inode(rawValue: inode), offset: offset, length: length, completion: completion)
        return try answer.value.wait { $0 }.get()
    }

    func isPassthrough(_ inode: UInt64) throws(Errno) -> Bool {
        if case .passthrough = try self.open(Inode(rawValue: inode)) { true } else { false }
    }
}

extension ManifestEntry.Extent {
    /// Chunks of a pack.
    init(_ offset: Int, _ length: Int, _ pack: PackReference, _ chunks: Range<Int>, at place: Int? = nil) {
        self.init(
            fileOffset: UInt64(offset), length: UInt64(length),
            source: Source(
                pack: pack, firstChunk: UInt32(chunks.lowerBound), chunkCount: UInt32(chunks.count),
                containerOffset: UInt64(place ?? offset)))
    }

    /// A hole.
    init(hole offset: Int, _ length: Int) {
        self.init(fileOffset: UInt64(offset), length: UInt64(length), source: nil)
    }
}
