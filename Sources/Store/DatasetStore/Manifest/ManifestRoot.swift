package import Chunking
import ObjectStore

/// Totals of a snapshot, kept in its root so that nobody has to walk it.
package struct SnapshotStatistics: Sendable, Hashable {
    package var entries: UInt64 = 0
    package var files: UInt64 = 0
    package var directories: UInt64 = 0
    package var symlinks: UInt64 = 0
    /// Further names of files that are counted once in `files` and `bytes`.
    package var hardLinks: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Files of one chunk in a shared pack.
    package var smallFiles: UInt64 = 0
    package var smallBytes: UInt64 = 0
    package var largeFiles: UInt64 = 0
    package var largeBytes: UInt64 = 0

    package init() {}

    mutating func count(_ entry: ManifestEntry) {
        entries += 1
        switch entry.contents {
        case .directory: directories += 1
        case .symlink: symlinks += 1
        case .hardLink: hardLinks += 1
        case .empty: files += 1
        case .chunk:
            files += 1
            bytes += entry.size
            smallFiles += 1
            smallBytes += entry.size
        case .extents:
            files += 1
            bytes += entry.size
            largeFiles += 1
            largeBytes += entry.size
        }
    }
}

/// Where a shard is and which entries it holds.
package struct ShardReference: Sendable, Hashable {
    package var id: ContentHash
    /// Ordinal of its first entry in the snapshot; the root directory has ordinal 0.
    package var firstOrdinal: UInt64
    package var entryCount: UInt32
    /// Bytes of its plain image.
    package var plainLength: UInt32
}

/// A validated root, read in place. The view borrows its bytes.
@safe package struct RootView: @unchecked Sendable {
    // Sendable: reads immutable memory only.
    package let statistics: SnapshotStatistics
    package let shardCount: Int
    package let packCount: Int
    private let shards: UnsafeRawPointer
    private let packTable: UnsafeRawPointer
    private let blob: UnsafeRawPointer

    /// Checks every length, index and the order once. The caller has checked the hash.
    package init(_ bytes: UnsafeRawBufferPointer, id: ContentHash) throws(StoreError) {
        func damaged(_ what: String) -> StoreError {
            StoreError(
                .damaged, "the snapshot's manifest root \(what)", snapshot: id.hex,
                object: ManifestFormat.key(of: id).text, remedy: "Run `kaml check`; use another snapshot")
        }
        guard bytes.count >= ManifestFormat.rootHeaderLength, let start = bytes.baseAddress,
            unsafe bytes.startsWith(ManifestFormat.rootMagic)
        else { throw damaged("is not a root") }
        guard unsafe start.u16(8) == ManifestFormat.version else {
            throw StoreError(
                .unsupported, unsafe "the snapshot has manifest format version \(start.u16(8))",
                snapshot: id.hex,
                remedy: "Update kaml")
        }
        guard unsafe start.u16(10) == 0, unsafe start.u32(20) == 0, unsafe start.u64(104) == 0,
            unsafe bytes.areZero(116..<128)
        else {
            throw damaged("has bits in a zero field")
        }
        shardCount = unsafe Int(start.u32(12))
        packCount = unsafe Int(start.u32(16))
        let blobLength = unsafe Int(start.u32(112))
        let expected =
            ManifestFormat.rootHeaderLength + shardCount * ManifestFormat.shardReferenceLength
            + packCount * PackReference.byteCount + blobLength
        guard shardCount > 0, expected == bytes.count else { throw damaged("has a wrong length") }
        var statistics = SnapshotStatistics()
        statistics.entries = unsafe start.u64(24)
        statistics.files = unsafe start.u64(32)
        statistics.directories = unsafe start.u64(40)
        statistics.symlinks = unsafe start.u64(48)
        statistics.hardLinks = unsafe start.u64(56)
        statistics.bytes = unsafe start.u64(64)
        statistics.smallFiles = unsafe start.u64(72)
        statistics.smallBytes = unsafe start.u64(80)
        statistics.largeFiles = unsafe start.u64(88)
        statistics.largeBytes = unsafe start.u64(96)
        self.statistics = statistics
        unsafe shards = unsafe start + ManifestFormat.rootHeaderLength
        unsafe packTable = unsafe shards + shardCount * ManifestFormat.shardReferenceLength
        unsafe blob = unsafe packTable + packCount * PackReference.byteCount
        if let problem = firstProblem(blobLength: blobLength) { throw damaged(problem) }
    }

    package func shard(_ index: Int) -> ShardReference {
        let entry = unsafe shards + index * ManifestFormat.shardReferenceLength
        return unsafe ShardReference(
            id: ContentHash(loading: entry), firstOrdinal: entry.u64(32), entryCount: entry.u32(40),
            plainLength: entry.u32(44))
    }

    /// Every pack that the snapshot's files and their bases lie in, by id.
    package func pack(_ index: Int) -> PackReference {
        guard let pack = unsafe PackReference(loading: packTable + index * PackReference.byteCount) else {
            preconditionFailure("validated when the root was opened")
        }
        return pack
    }

    package var packs: [PackReference] { (0..<packCount).map(pack) }

    /// The shard that holds an ordinal below `statistics.entries`.
    @inline(__always)
    func shardIndex(ofOrdinal ordinal: UInt64) -> Int {
        var low = 0
        var high = shardCount
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstOrdinal(middle) <= ordinal { low = middle } else { high = middle }
        }
        return low
    }

    @inline(__always)
    func firstOrdinal(_ index: Int) -> UInt64 {
        unsafe (shards + index * ManifestFormat.shardReferenceLength).u64(32)
    }

    /// The shard whose range of keys takes in (directory, name).
    @inline(__always)
    func shardIndex(directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer) -> Int {
        var low = 0
        var high = shardCount
        while high - low > 1 {
            let middle = (low + high) / 2
            let key = unsafe firstKey(middle)
            if unsafe KeyOrder.precedes(directory, name, key.directory, key.name) {
                high = middle
            } else {
                low = middle
            }
        }
        return low
    }

    /// The first entry of a shard.
    @inline(__always)
    func firstKey(_ index: Int) -> (directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer) {
        let entry = unsafe shards + index * ManifestFormat.shardReferenceLength
        let start = unsafe blob + Int(entry.u32(48))
        let pathLength = unsafe Int(entry.u16(52))
        return unsafe (
            UnsafeRawBufferPointer(start: start, count: pathLength),
            UnsafeRawBufferPointer(start: start + pathLength, count: Int(entry.u16(54)))
        )
    }

    private func firstProblem(blobLength: Int) -> String? {
        var next: UInt64 = 0
        for index in 0..<shardCount {
            let entry = unsafe shards + index * ManifestFormat.shardReferenceLength
            let shard = shard(index)
            guard shard.firstOrdinal == next, shard.entryCount > 0,
                shard.entryCount <= UInt32(ManifestFormat.shardMaximum),
                UInt64(shard.plainLength) <= ManifestFormat.maximumShardLength
            else { return "has a shard out of range" }
            next += UInt64(shard.entryCount)
            guard unsafe entry.u64(56) == 0 else { return "has bits in a zero field" }
            guard unsafe Int(entry.u32(48)) + Int(entry.u16(52)) + Int(entry.u16(54)) <= blobLength else {
                return "has a key out of range"
            }
            if index > 0 {
                let (left, right) = unsafe (firstKey(index - 1), firstKey(index))
                guard unsafe KeyOrder.precedes(left.directory, left.name, right.directory, right.name) else {
                    return "has shards out of order"
                }
            }
        }
        guard next == statistics.entries else { return "has a wrong count of entries" }
        for index in 0..<packCount
        where unsafe PackReference(loading: packTable + index * PackReference.byteCount) == nil {
            return "names a pack with lengths out of range"
        }
        return nil
    }
}
