package import Chunking
package import System

/// A validated shard, read in place: fixed-size records, no parsing, no allocation.
///
/// It borrows its bytes; `ShardImage` keeps them alive. Indices are trusted, since `init` has checked every
/// record and callers get indices from the shard itself.
@safe package struct ShardView: @unchecked Sendable {
    // Sendable: reads immutable memory only.
    let base: UnsafeRawPointer
    package let count: Int
    let directoryCount: Int
    package let packCount: Int
    let extentCount: Int
    let directories: UnsafeRawPointer
    let packs: UnsafeRawPointer
    let extents: UnsafeRawPointer
    let blob: UnsafeRawPointer
    let blobLength: Int

    @inline(__always)
    package func record(_ index: Int) -> RecordView {
        unsafe RecordView(
            base: base + ManifestFormat.shardHeaderLength + index * ManifestFormat.recordLength, blob: blob)
    }

    /// The parent path (components joined by NUL) of the entries of one directory group.
    @inline(__always)
    package func directoryPath(_ index: Int) -> UnsafeRawBufferPointer {
        let entry = unsafe directories + index * ManifestFormat.directoryLength
        return unsafe UnsafeRawBufferPointer(start: blob + Int(entry.u32(0)), count: Int(entry.u32(4)))
    }

    /// The records of one directory group.
    @inline(__always)
    package func directoryRecords(_ index: Int) -> Range<Int> {
        let entry = unsafe directories + index * ManifestFormat.directoryLength
        let first = unsafe Int(entry.u32(8))
        return unsafe first..<(first + Int(entry.u32(12)))
    }

    package func pack(_ index: Int) -> PackReference {
        guard let pack = unsafe PackReference(loading: packs + index * PackReference.byteCount) else {
            preconditionFailure("validated when the shard was opened")
        }
        return pack
    }

    @inline(__always)
    package func packID(_ index: Int) -> PackID {
        unsafe PackID(loading: packs + index * PackReference.byteCount)
    }

    @inline(__always)
    package func extent(_ index: Int) -> ExtentView {
        unsafe ExtentView(base: extents + index * ManifestFormat.extentLength)
    }

    /// The first record not before (directory, name) in sort order; `count` when there is none.
    package func lowerBound(directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            let record = record(middle)
            if unsafe KeyOrder.precedes(directoryPath(record.directory), record.name, directory, name) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    /// Whether a file's bytes lie in an object of somebody else's; its hash is then that object's identity.
    package func isReference(_ record: RecordView) -> Bool {
        switch record.kind {
        case .chunk: return record.codec == .reference
        case .extents:
            // All or none of them, which validation has seen to.
            guard let pack = extent(record.extents.lowerBound).pack else { return false }
            return self.pack(pack).holdsReferences
        case .directory, .empty, .symlink, .hardLink: return false
        }
    }

    /// A copy of a record as a value, for tools.
    package func entry(_ index: Int) -> ManifestEntry {
        let record = record(index)
        return unsafe ManifestEntry(
            directory: ByteString(directoryPath(record.directory)), name: ByteString(record.name),
            mode: record.mode, userID: record.userID, groupID: record.groupID, modified: record.modified,
            size: record.size, linkCount: record.linkCount, contents: contents(of: record),
            attributes: record.attributes)
    }

    private func contents(of record: RecordView) -> ManifestEntry.Contents {
        switch record.kind {
        case .directory: return .directory
        case .empty: return .empty
        case .symlink: return unsafe .symlink(target: ByteString(record.target))
        case .hardLink: return unsafe .hardLink(target: ByteString(record.target))
        case .chunk:
            let pack = pack(record.pack)
            return .chunk(
                .init(
                    pack: pack, chunk: record.chunk, entry: record.chunkEntry,
                    identity: record.codec == .reference ? record.hash : nil))
        case .extents:
            let extents = record.extents.map { index -> ManifestEntry.Extent in
                let extent = extent(index)
                let source = extent.pack.map { pack in
                    ManifestEntry.Extent.Source(
                        pack: self.pack(pack), firstChunk: extent.firstChunk, chunkCount: extent.chunkCount,
                        containerOffset: extent.containerOffset)
                }
                return .init(fileOffset: extent.fileOffset, length: extent.length, source: source)
            }
            return .extents(hash: record.hash, extents)
        }
    }
}

/// One record of a shard, in place. 104 bytes, see the article "StoreFormat".
@safe package struct RecordView {
    let base: UnsafeRawPointer
    let blob: UnsafeRawPointer

    /// Of a chunk file its chunk's hash, of a large file its file hash, of either the object's identity where it is a
    /// reference; zero otherwise.
    package var hash: ContentHash { unsafe ContentHash(loading: base) }
    @inline(__always) package var size: UInt64 { unsafe base.u64(32) }
    @inline(__always) package var modified: Timestamp {
        unsafe Timestamp(seconds: Int64(bitPattern: base.u64(40)), nanoseconds: base.u32(48))
    }
    @inline(__always) package var mode: UInt32 { unsafe base.u32(52) }
    @inline(__always) package var userID: UInt32 { unsafe base.u32(56) }
    @inline(__always) package var groupID: UInt32 { unsafe base.u32(60) }
    @inline(__always) package var name: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: blob + Int(base.u32(64)), count: Int(base.u8(68)))
    }
    @inline(__always) package var kind: EntryKind { unsafe EntryKind(rawValue: base.u8(69)) ?? .empty }
    @inline(__always) package var directory: Int { unsafe Int(base.u32(72)) }
    @inline(__always) package var linkCount: UInt32 { unsafe base.u32(100) }

    /// Of `.chunk`: index in the shard's pack table, chunk in the pack, place in pack and container.
    @inline(__always) package var pack: Int { unsafe Int(base.u32(76)) }
    @inline(__always) package var chunk: UInt32 { unsafe base.u32(80) }
    @inline(__always) package var storedLength: UInt32 { unsafe base.u32(84) }
    @inline(__always) package var frameOffset: UInt32 { unsafe base.u32(88) }
    @inline(__always) package var containerOffset: UInt64 {
        unsafe UInt64(base.u32(92)) * PackFormat.slotAlignment
    }
    package var codec: Codec { unsafe Codec(rawValue: base.u8(70)) ?? .none }

    /// Of `.chunk`: the chunk as the pack's footer lists it, without what only a footer knows: the base of a prefix
    /// frame, the object and the hash of a reference.
    package var chunkEntry: ChunkEntry {
        ChunkEntry(
            hash: codec == .reference ? .zero : hash, frameOffset: UInt64(frameOffset),
            containerOffset: containerOffset,
            storedLength: storedLength, plainLength: UInt32(truncatingIfNeeded: size), codec: codec, base: nil
        )
    }

    /// Of `.extents`: indices in the shard's extent table.
    @inline(__always) package var extents: Range<Int> {
        let first = unsafe Int(base.u32(76))
        return unsafe first..<(first + Int(base.u32(80)))
    }

    /// Of `.symlink` and `.hardLink`.
    package var target: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: blob + Int(base.u32(76)), count: Int(base.u32(80)))
    }

    @inline(__always) var attributesOffset: Int { unsafe Int(base.u32(96)) }
    package var hasAttributes: Bool { attributesOffset != 0 }

    package var attributes: [ExtendedAttribute] {
        guard hasAttributes else { return [] }
        var list: [ExtendedAttribute] = []
        var cursor = unsafe blob + attributesOffset
        let count = unsafe Int(cursor.u16(0))
        unsafe cursor += 2
        for _ in 0..<count {
            let nameLength = unsafe Int(cursor.u8(0))
            let valueLength = unsafe Int(cursor.u32(1))
            let name = unsafe ByteString(UnsafeRawBufferPointer(start: cursor + 5, count: nameLength))
            let value = unsafe Array(
                UnsafeRawBufferPointer(start: cursor + 5 + nameLength, count: valueLength))
            list.append(ExtendedAttribute(name: name, value: value))
            unsafe cursor += 5 + nameLength + valueLength
        }
        return list
    }
}

/// One extent of a large file, in place.
@safe package struct ExtentView {
    let base: UnsafeRawPointer
    @inline(__always) package var fileOffset: UInt64 { unsafe base.u64(0) }
    @inline(__always) package var length: UInt64 { unsafe base.u64(8) }
    /// Index in the shard's pack table; nil for a hole.
    @inline(__always) package var pack: Int? {
        let index = unsafe base.u32(16)
        return index == UInt32.max ? nil : Int(index)
    }
    @inline(__always) package var firstChunk: UInt32 { unsafe base.u32(20) }
    @inline(__always) package var chunkCount: UInt32 { unsafe base.u32(24) }
    @inline(__always) package var containerOffset: UInt64 { unsafe base.u64(32) }
}

/// The order of entries: by parent path, then by name, as unsigned bytes, a prefix first.
enum KeyOrder {
    @inline(__always)
    static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let common = min(left.count, right.count)
        if common > 0, let a = left.baseAddress, let b = right.baseAddress {
            let order = unsafe memoryCompare(a, b, common)
            if order != 0 { return order }
        }
        return left.count - right.count
    }

    @inline(__always)
    static func precedes(
        _ directory: UnsafeRawBufferPointer, _ name: UnsafeRawBufferPointer,
        _ otherDirectory: UnsafeRawBufferPointer, _ otherName: UnsafeRawBufferPointer
    ) -> Bool {
        let order = unsafe compare(directory, otherDirectory)
        return unsafe order != 0 ? order < 0 : compare(name, otherName) < 0
    }
}
