package import Chunking
import System

/// Writes a snapshot's manifest from entries in sort order: shards as they fill, then the root.
package struct ManifestWriter: ~Copyable {
    /// What a finished manifest is, and what it cost.
    package struct Result: Sendable {
        package var snapshot: ContentHash
        package var statistics: SnapshotStatistics
        package var storedLength: UInt64
    }

    private let objects: ManifestObjects
    private let parent: Snapshot?
    private var encoder: FrameEncoder
    private var shard = ShardBuilder()
    private var shards: [(reference: ShardReference, directory: ByteString, name: ByteString)] = []
    private var statistics = SnapshotStatistics()
    private var packs: [PackID: PackReference] = [:]
    private var last: (directory: ByteString, name: ByteString)?
    private var storedLength: UInt64 = 0

    /// `parent` is a snapshot that this one resembles; its shards serve as bases for differences.
    package init(objects: ManifestObjects, parent: Snapshot?, level: Int32 = 6) {
        self.objects = objects
        self.parent = parent
        encoder = FrameEncoder(level: level)
    }

    /// Adds the next entry. The first one is the root directory, with an empty name.
    ///
    /// - Throws: `.invalidInput` for a name or path that the format cannot hold or that is out of order.
    package mutating func append(_ entry: ManifestEntry) throws(StoreError) {
        try check(entry)
        last = (entry.directory, entry.name)
        statistics.count(entry)
        switch entry.contents {
        case .chunk(let file): packs[file.pack.id] = file.pack
        case .extents(_, let extents):
            for extent in extents { if let source = extent.source { packs[source.pack.id] = source.pack } }
        default: break
        }
        shard.append(entry)
        let isBoundary = Self.keyHash(entry).isMultiple(of: ManifestFormat.shardDivisor)
        if (isBoundary && shard.count >= ManifestFormat.shardMinimum)
            || shard.count == ManifestFormat.shardMaximum
            || shard.imageLength >= ManifestFormat.shardTargetLength
        {
            try endShard()
        }
    }

    /// Names packs that files need only as bases of their prefix frames.
    package mutating func addBasePacks(_ bases: some Sequence<PackReference>) {
        for pack in bases { packs[pack.id] = pack }
    }

    /// Stores the last shard and the root. The snapshot is readable when this returns.
    package consuming func finish() throws(StoreError) -> Result {
        if shard.count > 0 { try endShard() }
        guard !shards.isEmpty else { throw StoreError(.invalidInput, "a snapshot needs a root directory") }
        let root = try rootImage()
        let stored = try objects.put(.manifestRoot, root, similar: parent?.id, encoder: &encoder)
        return Result(
            snapshot: stored.id, statistics: statistics, storedLength: storedLength + stored.storedLength)
    }

    private func check(_ entry: ManifestEntry) throws(StoreError) {
        // Made only for an error: building it costs more than all the rest of an entry.
        var path: String { ManifestEntry.displayPath(keyPath: entry.keyPath).description }
        if let last {
            let ordered =
                last.directory == entry.directory ? last.name < entry.name : last.directory < entry.directory
            guard ordered else { throw StoreError(.invalidInput, "entries are out of order", path: path) }
            guard !entry.name.isEmpty, entry.name.count <= ManifestFormat.maximumNameLength,
                entry.name != ".",
                entry.name != "..", !entry.name.bytes.contains(0), !entry.name.bytes.contains(0x2F)
            else { throw StoreError(.invalidInput, "this name cannot be stored", path: path) }
        } else {
            guard entry.directory.isEmpty, entry.name.isEmpty, entry.contents == .directory else {
                throw StoreError(.invalidInput, "the first entry is not the root directory", path: path)
            }
        }
        guard entry.directory.count + 1 + entry.name.count <= ManifestFormat.maximumPathLength else {
            throw StoreError(
                .invalidInput, "the path is longer than \(ManifestFormat.maximumPathLength) bytes",
                path: path,
                remedy: "Shorten the directory names")
        }
        if !entry.attributes.isEmpty, !Self.fit(entry.attributes) {
            throw StoreError(
                .invalidInput, "the extended attributes are more or longer than a snapshot can hold",
                path: path,
                remedy: "Remove some of them with setfattr -x")
        }
    }

    private static func fit(_ attributes: [ExtendedAttribute]) -> Bool {
        var names = 0
        var bytes = 0
        for attribute in attributes {
            guard !attribute.name.isEmpty, attribute.name.count <= ManifestFormat.maximumNameLength,
                attribute.value.count <= ManifestFormat.maximumAttributeValue
            else { return false }
            names += attribute.name.count + 1
            bytes += attribute.name.count + attribute.value.count
        }
        return names <= ManifestFormat.maximumAttributeList && bytes <= ManifestFormat.maximumAttributeBytes
    }

    /// Looks at an image as every reader will, so that what none would take fails the commit and not the mount.
    private static func validate(
        _ what: String, _ image: [UInt8], limit: UInt64, first: (directory: ByteString, name: ByteString),
        _ open: (UnsafeRawBufferPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        let outcome = unsafe image.withUnsafeBytes { bytes in
            Swift.Result { () throws(StoreError) in try unsafe open(bytes) }
        }
        let problem: String
        switch outcome {
        case .success where UInt64(image.count) <= limit: return
        case .success: problem = "it has \(image.count) bytes, the limit is \(limit)"
        case .failure(let error): problem = error.message
        }
        let path = ManifestEntry.displayPath(
            keyPath: ManifestEntry.keyPath(directory: first.directory, name: first.name))
        throw StoreError(
            .invalidInput, "the \(what) from this entry on would be one that no reader takes: \(problem)",
            path: path.description)
    }

    private static func keyHash(_ entry: ManifestEntry) -> UInt64 {
        unsafe entry.directory.bytes.withUnsafeBytes { directory in
            unsafe entry.name.bytes.withUnsafeBytes { name in
                unsafe KeyHash.hash(name, seed: KeyHash.hash(directory, seed: 0))
            }
        }
    }

    private mutating func endShard() throws(StoreError) {
        let key = shard.firstKey
        let count = UInt32(shard.count)
        let image = shard.finish()
        try unsafe Self.validate(
            "manifest shard", image, limit: ManifestFormat.maximumShardLength, first: key
        ) {
            bytes throws(StoreError) in _ = try unsafe ShardView(bytes, id: .zero)
        }
        let stored = try objects.put(
            .manifestShard, image,
            similar: parent?.shardID(directory: key.directory.bytes, name: key.name.bytes),
            encoder: &encoder)
        storedLength += stored.storedLength
        let first = shards.last.map { $0.reference.firstOrdinal + UInt64($0.reference.entryCount) } ?? 0
        shards.append(
            (
                ShardReference(
                    id: stored.id, firstOrdinal: first, entryCount: count, plainLength: UInt32(image.count)),
                key.directory, key.name
            ))
    }

    private func rootImage() throws(StoreError) -> [UInt8] {
        let keys = shards.reduce(0) { $0 + $1.directory.count + $1.name.count }
        let length =
            ManifestFormat.rootHeaderLength + shards.count * ManifestFormat.shardReferenceLength
            + packs.count * PackReference.byteCount + keys
        guard UInt64(length) <= ManifestFormat.maximumRootLength else {
            throw StoreError(
                .invalidInput,
                "the snapshot's root would have \(length) bytes, the limit is \(ManifestFormat.maximumRootLength)",
                remedy: "Split the dataset")
        }
        var blob = ByteBuilder()
        var references = ByteBuilder()
        for shard in shards {
            references.raw(shard.reference.id.bytes)
            references.u64(shard.reference.firstOrdinal)
            references.u32(shard.reference.entryCount)
            references.u32(shard.reference.plainLength)
            references.u32(UInt32(blob.count))
            references.u16(UInt16(shard.directory.count))
            references.u16(UInt16(shard.name.count))
            references.zeros(8)
            blob.raw(shard.directory.bytes)
            blob.raw(shard.name.bytes)
        }
        var root = ByteBuilder()
        unsafe root.raw(UnsafeRawBufferPointer(start: ManifestFormat.rootMagic.utf8Start, count: 8))
        root.u16(ManifestFormat.version)
        root.u16(0)
        root.u32(UInt32(shards.count))
        root.u32(UInt32(packs.count))
        root.u32(0)
        for value in [
            statistics.entries, statistics.files, statistics.directories, statistics.symlinks,
            statistics.hardLinks, statistics.bytes, statistics.smallFiles, statistics.smallBytes,
            statistics.largeFiles, statistics.largeBytes, 0,
        ] { root.u64(value) }
        root.u32(UInt32(blob.count))
        root.zeros(12)
        root.raw(references.bytes)
        for pack in packs.values.sorted(by: { $0.id < $1.id }) { pack.append(to: &root) }
        root.raw(blob.bytes)
        try unsafe Self.validate(
            "manifest root", root.bytes, limit: ManifestFormat.maximumRootLength, first: ("", "")
        ) { bytes throws(StoreError) in _ = try unsafe RootView(bytes, id: .zero) }
        return root.bytes
    }
}
