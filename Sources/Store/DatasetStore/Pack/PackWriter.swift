package import Chunking
package import ObjectStore

/// A chunk that is ready to be stored: named, and encoded or not.
@safe package struct EncodedChunk {
    package var hash: ContentHash
    package var plainLength: Int
    package var codec: Codec
    /// The frame's payload, valid during the call it is given to.
    package var payload: UnsafeRawBufferPointer
    /// Of a prefix frame: the pack and chunk that hold its base.
    package var base: (pack: PackReference, chunk: UInt32)?

    package init(
        hash: ContentHash, plainLength: Int, codec: Codec, payload: UnsafeRawBufferPointer,
        base: (pack: PackReference, chunk: UInt32)? = nil
    ) {
        self.hash = hash
        self.plainLength = plainLength
        self.codec = codec
        unsafe self.payload = unsafe payload
        self.base = base
    }
}

/// Writes one pack, front to back, and makes it visible whole or not at all.
///
/// Not thread-safe: one writer, one thread at a time.
package final class PackWriter {
    package let id: PackID
    package let layout: PackLayout
    /// Bytes of the pack so far.
    package private(set) var length: UInt64 = 0

    private let location: String
    private let object: any ObjectWriter
    private var footer: PackFooterBuilder
    private var baseIndex: [PackID: UInt16] = [:]
    private var frameHeader = ByteBuilder()

    package init(id: PackID, layout: PackLayout, in store: any ObjectStore) throws(ObjectStoreError) {
        self.id = id
        self.layout = layout
        location = store.location
        footer = PackFooterBuilder(id: id, layout: layout)
        object = try store.makeWriter(PackFormat.key(of: id))
        try append(PackFormat.header(of: id))
    }

    package var chunkCount: UInt32 { footer.chunkCount }

    /// Bytes of the container so far.
    package var containerSize: UInt64 { footer.containerSize }

    /// Whether another base pack fits the table; without it a chunk is stored with no prefix.
    package func hasRoom(forBase pack: PackID) -> Bool {
        baseIndex[pack] != nil || footer.bases.count < Int(PackFormat.limits.baseCount)
    }

    /// Appends a chunk and returns its entry. In a pack of layout `.file`, `fileOffset` is where its plain
    /// bytes lie in the file, in rising order; in `.slots` it is nil.
    package func append(_ chunk: EncodedChunk, fileOffset: UInt64? = nil) throws(ObjectStoreError)
        -> ChunkEntry
    {
        let header = unsafe FrameHeader(
            index: chunkCount, storedLength: UInt32(chunk.payload.count),
            plainLength: UInt32(chunk.plainLength),
            codec: chunk.codec)
        var base: ChunkEntry.Base?
        if let wanted = chunk.base { base = .init(pack: index(of: wanted.pack), chunk: wanted.chunk) }
        let entry = ChunkEntry(
            hash: chunk.hash, frameOffset: length, containerOffset: fileOffset ?? nextSlot,
            storedLength: header.storedLength, plainLength: header.plainLength, codec: chunk.codec, base: base
        )
        frameHeader = ByteBuilder()
        header.append(to: &frameHeader)
        try append(frameHeader.bytes)
        try unsafe object.append(chunk.payload)
        unsafe length += UInt64(chunk.payload.count)
        footer.append(entry)
        return entry
    }

    /// Where the next chunk of a `.slots` pack will lie in the container.
    package var nextSlot: UInt64 { footer.nextSlot }

    /// Writes the footer and publishes the pack, durably. `fileSize` is the size of a `.file` pack's file
    /// (it may end in a hole). Throws before anything is visible when the pack is beyond the format's limits.
    package func publish(fileSize: UInt64? = nil) throws(ObjectStoreError) -> PackReference {
        let (bytes, reference) = footer.finish(frameEnd: length, containerSize: fileSize)
        // No reader would take such a pack, so no snapshot may come to need it.
        guard reference.isWithinLimits else {
            object.abandon()
            throw ObjectStoreError(
                .inputOutput, .publish, key: PackFormat.key(of: id).text, location: location,
                detail:
                    "a pack of \(chunkCount) chunks and \(reference.objectSize) bytes is beyond the format's limits"
            )
        }
        try append(bytes)
        _ = try object.publish()
        return reference
    }

    /// Throws the unpublished pack away.
    package func abandon() { object.abandon() }

    private func append(_ bytes: [UInt8]) throws(ObjectStoreError) {
        length += UInt64(bytes.count)
        let outcome = unsafe bytes.withUnsafeBytes { bytes -> Result<Void, ObjectStoreError> in
            do throws(ObjectStoreError) { return unsafe .success(try object.append(bytes)) } catch {
                return .failure(error)
            }
        }
        try outcome.get()
    }

    private func index(of pack: PackReference) -> UInt16 {
        if let index = baseIndex[pack.id] { return index }
        let index = UInt16(footer.bases.count)
        footer.bases.append(pack)
        baseIndex[pack.id] = index
        return index
    }
}
