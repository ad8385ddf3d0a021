import Chunking
import System

/// Lays out one shard's image from entries that come in sort order.
struct ShardBuilder {
    private(set) var count = 0
    private var records = ByteBuilder()
    private var directories = ByteBuilder()
    private var extents = ByteBuilder()
    private var extentCount: UInt32 = 0
    private var blob = ByteBuilder()
    private var packs: [PackReference] = []
    private var packIndex: [PackID: UInt32] = [:]

    private var directoryPath: ByteString?
    private var directoryStart = 0
    private var directoryPathOffset: UInt32 = 0
    private var directoryCount: UInt32 = 0

    private(set) var firstKey: (directory: ByteString, name: ByteString) = ("", "")

    /// Bytes of the image if it ended here; the directory at hand counts already.
    var imageLength: Int {
        ManifestFormat.shardHeaderLength + records.count + directories.count + ManifestFormat.directoryLength
            + packs.count * PackReference.byteCount + extents.count + blob.count
    }

    mutating func append(_ entry: ManifestEntry) {
        if count == 0 {
            firstKey = (entry.directory, entry.name)
            blob.u8(0)  // so that attribute offset 0 means none
        }
        if directoryPath != entry.directory {
            endDirectory()
            directoryPath = entry.directory
            directoryStart = count
            directoryPathOffset = UInt32(blob.count)
            blob.raw(entry.directory.bytes)
        }
        let nameOffset = UInt32(blob.count)
        blob.raw(entry.name.bytes)
        let fields = contents(of: entry)
        let attributes = attributes(of: entry)
        records.raw(fields.hash.bytes)
        records.u64(entry.size)
        records.u64(UInt64(bitPattern: entry.modified.seconds))
        records.u32(entry.modified.nanoseconds)
        records.u32(entry.mode)
        records.u32(entry.userID)
        records.u32(entry.groupID)
        records.u32(nameOffset)
        records.u8(UInt8(entry.name.count))
        records.u8(fields.kind.rawValue)
        records.u8(fields.codec.rawValue)
        records.u8(0)
        records.u32(directoryCount)
        records.u32(fields.a)
        records.u32(fields.b)
        records.u32(fields.c)
        records.u32(fields.d)
        records.u32(fields.e)
        records.u32(attributes)
        records.u32(entry.linkCount)
        count += 1
    }

    /// The finished image; the builder is empty afterwards.
    mutating func finish() -> [UInt8] {
        endDirectory()
        var image = ByteBuilder()
        image.reserve(
            ManifestFormat.shardHeaderLength + records.count + directories.count
                + packs.count * PackReference.byteCount + extents.count + blob.count)
        unsafe image.raw(UnsafeRawBufferPointer(start: ManifestFormat.shardMagic.utf8Start, count: 8))
        image.u16(ManifestFormat.version)
        image.u16(0)
        image.u32(UInt32(count))
        image.u32(directoryCount)
        image.u32(UInt32(packs.count))
        image.u32(extentCount)
        image.u32(UInt32(blob.count))
        image.zeros(32)
        image.raw(records.bytes)
        image.raw(directories.bytes)
        for pack in packs { pack.append(to: &image) }
        image.raw(extents.bytes)
        image.raw(blob.bytes)
        self = ShardBuilder()
        return image.bytes
    }

    private mutating func endDirectory() {
        guard let directoryPath else { return }
        directories.u32(directoryPathOffset)
        directories.u32(UInt32(directoryPath.count))
        directories.u32(UInt32(directoryStart))
        directories.u32(UInt32(count - directoryStart))
        directoryCount += 1
    }

    private struct Fields {
        var kind: EntryKind
        var hash = ContentHash.zero
        var codec = Codec.none
        var a: UInt32 = 0
        var b: UInt32 = 0
        var c: UInt32 = 0
        var d: UInt32 = 0
        var e: UInt32 = 0
    }

    private mutating func contents(of entry: ManifestEntry) -> Fields {
        switch entry.contents {
        case .directory: return Fields(kind: .directory)
        case .empty: return Fields(kind: .empty)
        case .symlink(let target):
            return Fields(kind: .symlink, a: inBlob(target.bytes), b: UInt32(target.count))
        case .hardLink(let target):
            return Fields(kind: .hardLink, a: inBlob(target.bytes), b: UInt32(target.count))
        case .chunk(let file):
            return Fields(
                kind: .chunk, hash: file.identity ?? file.entry.hash, codec: file.entry.codec,
                a: index(of: file.pack),
                b: file.chunk,
                c: file.entry.storedLength, d: UInt32(file.entry.frameOffset),
                e: UInt32(file.entry.containerOffset / PackFormat.slotAlignment))
        case .extents(let hash, let list):
            let first = extentCount
            for extent in list { append(extent) }
            return Fields(kind: .extents, hash: hash, a: first, b: UInt32(list.count))
        }
    }

    private mutating func append(_ extent: ManifestEntry.Extent) {
        extents.u64(extent.fileOffset)
        extents.u64(extent.length)
        if let source = extent.source {
            extents.u32(index(of: source.pack))
            extents.u32(source.firstChunk)
            extents.u32(source.chunkCount)
            extents.u32(0)
            extents.u64(source.containerOffset)
        } else {
            extents.u32(UInt32.max)
            extents.zeros(20)
        }
        extentCount += 1
    }

    private mutating func attributes(of entry: ManifestEntry) -> UInt32 {
        if entry.attributes.isEmpty { return 0 }
        let offset = UInt32(blob.count)
        blob.u16(UInt16(entry.attributes.count))
        for attribute in entry.attributes {
            blob.u8(UInt8(attribute.name.count))
            blob.u32(UInt32(attribute.value.count))
            blob.raw(attribute.name.bytes)
            blob.raw(attribute.value)
        }
        return offset
    }

    private mutating func inBlob(_ bytes: [UInt8]) -> UInt32 {
        let offset = UInt32(blob.count)
        blob.raw(bytes)
        return offset
    }

    private mutating func index(of pack: PackReference) -> UInt32 {
        if let index = packIndex[pack.id] { return index }
        let index = UInt32(packs.count)
        packs.append(pack)
        packIndex[pack.id] = index
        return index
    }
}
