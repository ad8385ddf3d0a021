import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System

/// Well-formed objects for the fuzzer to start from: without them it would not get past a magic number.
enum Seeds {
    static func write(to directory: ByteString) throws {
        let store = MemoryObjectStore()
        let (pack, entries) = try makePack(in: store)
        let manifest = try makeManifest(in: store, pack, entries)
        let objects = ManifestObjects(store: store)
        let root = try objects.image(.manifestRoot, manifest)
        let snapshot = try Snapshot(manifest, from: StoreManifestSource(objects: objects))
        try save(root, directory, "root")
        try save(try objects.image(.manifestShard, snapshot.root.shard(0).id), directory, "shard")
        try save(try footer(of: pack, in: store), directory, "pack")
        let others = MemoryObjectStore()
        let references = try makeReferencePack().publish(in: others)
        try save(try footer(of: references, in: others), directory, "pack", "references")
        try save(try payload(), directory, "log")
        try save(records(), directory, "records")
        try save(Array("a\0c".utf8), directory, "names")
        try save(Array(listing.utf8), directory, "listing")
        for seed in try RecordSeeds.all() { try save(seed.bytes, directory, seed.parser, seed.name) }
    }

    /// Every element of a listing that is looked at.
    private static let listing = """
        <?xml version="1.0"?><ListVersionsResult xmlns="x"><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
        <NextKeyMarker>a%20b</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker><!-- c -->
        <NextContinuationToken><![CDATA[t]]></NextContinuationToken><Version><Key>a+b&amp;&#x41;</Key><Size>12</Size>
        <ETag>&quot;x&quot;</ETag><IsLatest>true</IsLatest><VersionId>v</VersionId><StorageClass>GLACIER</StorageClass>
        <LastModified>2026-01-02T03:04:05.678Z</LastModified></Version><Contents/></ListVersionsResult>
        """

    private static func save(
        _ bytes: [UInt8], _ directory: ByteString, _ parser: ByteString, _ name: ByteString = "seed"
    ) throws {
        let host = HostFileSystem()
        let folder = directory.appending(parser)
        try host.makeDirectories(folder)
        // O_WRONLY | O_CREAT | O_TRUNC
        let file = try host.open(folder.appending(name), 0o1101, mode: 0o644)
        let outcome = bytes.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try host.write(file, bytes, at: 0) }
        }
        try outcome.get()
    }

    private static func makePack(in store: MemoryObjectStore) throws -> (PackReference, [ChunkEntry]) {
        var random = SplitMix64(seed: 1)
        // The id that `fuzzPack` expects.
        let writer = try PackWriter(id: PackID(high: 0, low: 0), layout: .slots, in: store)
        var entries: [ChunkEntry] = []
        for length in [1, 100, 5000] {
            let bytes = random.bytes(length)
            try bytes.withUnsafeBytes { bytes in
                let chunk = EncodedChunk(
                    hash: ContentHash.of(.chunk, bytes), plainLength: length, codec: .none, payload: bytes)
                entries.append(try writer.append(chunk))
            }
        }
        return (try writer.publish(), entries)
    }

    /// Of an even length, which `fuzzPack` takes for the layout of small files.
    private static func makeReferencePack() -> ReferencePackBuilder {
        var builder = ReferencePackBuilder(
            id: PackID(high: 0, low: 0), layout: .slots, location: "s3://bucket/")
        for (key, id) in [("a", nil), ("b/cde", "v1")] as [(ByteString, String?)] {
            _ = builder.append(
                ReferencedObject(key: key, size: 5000, version: ObjectVersion(tag: "tag", id: id)))
        }
        return builder
    }

    /// What `fuzzPack` takes: object size, container size and chunk count in 24 bytes, then the footer's body.
    private static func footer(of pack: PackReference, in store: MemoryObjectStore) throws -> [UInt8] {
        let object = try store.readAll(pack.key, limit: 1 << 20)
        var seed: [UInt8] = []
        withUnsafeBytes(of: (pack.objectSize, pack.containerSize, UInt64(pack.chunkCount))) {
            seed += Array($0)
        }
        return seed
            + Array(
                object[(object.count - Int(pack.footerLength))..<(object.count - PackFormat.trailerLength)])
    }

    private static func makeManifest(
        in store: MemoryObjectStore, _ pack: PackReference, _ chunks: [ChunkEntry]
    ) throws -> ContentHash {
        var writer = ManifestWriter(objects: ManifestObjects(store: store), parent: nil)
        func entry(_ name: ByteString, _ mode: UInt32, _ size: UInt64, _ contents: ManifestEntry.Contents)
            -> ManifestEntry
        {
            ManifestEntry(
                directory: "", name: name, mode: mode, userID: 0, groupID: 0,
                modified: Timestamp(seconds: 1, nanoseconds: 2), size: size, contents: contents,
                attributes: mode & 0o100000 != 0 ? [ExtendedAttribute(name: "user.a", value: [1, 2])] : [])
        }
        try writer.append(entry("", 0o040755, 0, .directory))
        for (index, chunk) in chunks.enumerated() {
            try writer.append(
                entry(
                    ByteString("f\(index)"), 0o100644, UInt64(chunk.plainLength),
                    .chunk(.init(pack: pack, chunk: UInt32(index), entry: chunk))))
        }
        try writer.append(entry("hard", 0o100644, 1, .hardLink(target: "f0")))
        try writer.append(entry("soft", 0o120777, 3, .symlink(target: "f0")))
        return try writer.finish().snapshot
    }

    private static func payload() throws -> [UInt8] {
        guard let dataset = DatasetName("d"), let id = LogID(Array(repeating: 7, count: 16)) else {
            return []
        }
        let commit = Commit(
            dataset: dataset, branch: .main, snapshot: .zero, parent: nil, message: "m", metadata: ["k": "v"],
            files: 1,
            bytes: 2, newBytes: 3, storedBytes: 4)
        let record = LogRecord(
            sequence: 1, previous: nil, writer: id, write: id, time: Timestamp(seconds: 5, nanoseconds: 6),
            author: "a@b",
            change: .commit(commit))
        guard let encoded = record.encoded() else { return [] }
        return try LogEnvelope.open(encoded.bytes).payload
    }

    /// Three TFRecords with right length checksums.
    static func records() -> [UInt8] {
        var bytes: [UInt8] = []
        for length in [3, 200, 70_000] {
            let word = UInt64(length)
            withUnsafeBytes(of: word.littleEndian) { bytes += Array($0) }
            withUnsafeBytes(of: CRC32C.masked(CRC32C.checksum(ofWord: word)).littleEndian) {
                bytes += Array($0)
            }
            bytes += [UInt8](repeating: UInt8(length & 0xFF), count: length) + [0, 0, 0, 0]
        }
        return bytes
    }
}
