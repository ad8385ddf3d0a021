package import Chunking

/// Header of one frame, which lets a damaged pack be read frame by frame without its footer.
package struct FrameHeader: Sendable, Hashable {
    package var index: UInt32
    package var storedLength: UInt32
    package var plainLength: UInt32
    package var codec: Codec

    package init(index: UInt32, storedLength: UInt32, plainLength: UInt32, codec: Codec) {
        self.index = index
        self.storedLength = storedLength
        self.plainLength = plainLength
        self.codec = codec
    }

    /// Nil when `bytes` does not start with a frame.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= PackFormat.frameHeaderLength, let start = bytes.baseAddress,
            unsafe bytes.startsWith(PackFormat.frameMagic), let codec = unsafe Codec(rawValue: start.u8(20)),
            codec != .reference, unsafe start.u8(21) == 0, unsafe start.u16(22) == 0
        else { return nil }
        index = unsafe start.u32(8)
        storedLength = unsafe start.u32(12)
        plainLength = unsafe start.u32(16)
        self.codec = codec
        guard plainLength > 0, plainLength <= PackFormat.limits.plainLength, storedLength <= plainLength
        else {
            return nil
        }
    }

    func append(to builder: inout ByteBuilder) {
        unsafe builder.raw(UnsafeRawBufferPointer(start: PackFormat.frameMagic.utf8Start, count: 8))
        builder.u32(index)
        builder.u32(storedLength)
        builder.u32(plainLength)
        builder.u8(codec.rawValue)
        builder.zeros(3)
    }
}
