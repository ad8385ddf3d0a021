package import Chunking

/// One chunk of a pack, as its footer lists it.
package struct ChunkEntry: Sendable, Hashable {
    /// Zero where it is not known, which only a reference may say.
    package var hash: ContentHash
    /// Where the frame starts in the pack; of a reference, where the bytes start in its object.
    package var frameOffset: UInt64
    /// Where the plain bytes lie in the container.
    package var containerOffset: UInt64
    /// Payload bytes after the frame's header; of a reference the plain length.
    package var storedLength: UInt32
    package var plainLength: UInt32
    package var codec: Codec
    /// Of a prefix frame: which chunk of which pack in the footer's base table.
    package var base: Base?
    /// Of a reference: the index of its object in the footer's source table. Nil in an entry out of a manifest, which
    /// does not know it.
    package var object: UInt32?

    package struct Base: Sendable, Hashable {
        package var pack: UInt16
        package var chunk: UInt32
        package init(pack: UInt16, chunk: UInt32) {
            self.pack = pack
            self.chunk = chunk
        }
    }

    package init(
        hash: ContentHash, frameOffset: UInt64, containerOffset: UInt64, storedLength: UInt32,
        plainLength: UInt32, codec: Codec, base: Base?, object: UInt32? = nil
    ) {
        self.hash = hash
        self.frameOffset = frameOffset
        self.containerOffset = containerOffset
        self.storedLength = storedLength
        self.plainLength = plainLength
        self.codec = codec
        self.base = base
        self.object = object
    }

    /// Whether it says too little without the pack's footer: where the base lies, or the object.
    package var needsFooter: Bool { codec == .zstdPrefix || codec == .reference }

    /// Of a reference: the bytes of its object.
    package var objectRange: Range<UInt64> { frameOffset..<(frameOffset + UInt64(plainLength)) }

    /// The frame's place in the pack: header and payload. A reference has none.
    package var frame: Range<UInt64> {
        frameOffset..<(frameOffset + UInt64(PackFormat.frameHeaderLength) + UInt64(storedLength))
    }
}
