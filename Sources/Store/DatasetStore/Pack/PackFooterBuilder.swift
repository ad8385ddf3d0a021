import Chunking

/// Lays out a pack's footer and trailer from entries in pack order.
struct PackFooterBuilder {
    let id: PackID
    let layout: PackLayout
    /// Packs that hold bases of prefix frames, in the order that the entries' indices mean.
    var bases: [PackReference] = []
    private(set) var chunkCount: UInt32 = 0
    /// Bytes of the container so far.
    private(set) var containerSize: UInt64 = 0
    private var entries = ByteBuilder()

    init(id: PackID, layout: PackLayout) {
        self.id = id
        self.layout = layout
    }

    /// Where the next chunk of a `.slots` pack lies in the container.
    var nextSlot: UInt64 {
        (containerSize + PackFormat.slotAlignment - 1) / PackFormat.slotAlignment * PackFormat.slotAlignment
    }

    mutating func append(_ entry: ChunkEntry) {
        chunkCount += 1
        containerSize = max(containerSize, entry.containerOffset + UInt64(entry.plainLength))
        entries.raw(entry.hash.bytes)
        entries.u64(entry.frameOffset)
        entries.u64(entry.containerOffset)
        entries.u32(entry.storedLength)
        entries.u32(entry.plainLength)
        entries.u8(entry.codec.rawValue)
        entries.u8(0)
        entries.u16(entry.base?.pack ?? UInt16.max)
        entries.u32(entry.base?.chunk ?? entry.object ?? 0)
    }

    /// The bytes that end the pack, and the reference to it. `frameEnd` is how many bytes come before; a file that ends
    /// in a hole has a larger container than its chunks say.
    func finish(
        frameEnd: UInt64, containerSize size: UInt64? = nil, sources: [UInt8] = []
    ) -> (bytes: [UInt8], pack: PackReference) {
        let container = max(containerSize, size ?? 0)
        var footer = ByteBuilder()
        footer.reserve(
            PackFormat.footerHeaderLength + entries.count + bases.count * PackReference.byteCount
                + sources.count + PackFormat.trailerLength)
        unsafe footer.raw(UnsafeRawBufferPointer(start: PackFormat.footerMagic.utf8Start, count: 8))
        footer.u16(PackFormat.version)
        footer.u16(UInt16(layout.rawValue))
        footer.u32(chunkCount)
        footer.u32(UInt32(bases.count))
        footer.u32(UInt32(sources.count))
        footer.u64(container)
        footer.u64(frameEnd)
        footer.raw(id.bytes)
        footer.zeros(8)
        footer.raw(entries.bytes)
        for base in bases { base.append(to: &footer) }
        footer.raw(sources)
        let hash = ContentHash.of(.packFooter, footer.bytes)
        let length = UInt32(footer.count + PackFormat.trailerLength)
        footer.raw(hash.bytes)
        footer.u32(length)
        footer.u32(0)
        unsafe footer.raw(UnsafeRawBufferPointer(start: PackFormat.trailerMagic.utf8Start, count: 8))
        let reference = PackReference(
            id: id, footerHash: hash, objectSize: frameEnd + UInt64(footer.count), containerSize: container,
            footerLength: length, chunkCount: chunkCount, layout: layout)
        return (footer.bytes, reference)
    }
}
