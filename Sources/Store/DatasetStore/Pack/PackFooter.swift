package import Chunking
import ObjectStore

/// One chunk of a pack, as its footer lists it.
package struct ChunkEntry: Sendable, Hashable {
    package var hash: ContentHash
    /// Where the frame starts in the pack.
    package var frameOffset: UInt64
    /// Where the plain bytes lie in the container.
    package var containerOffset: UInt64
    /// Payload bytes after the frame's header.
    package var storedLength: UInt32
    package var plainLength: UInt32
    package var codec: Codec
    /// Of a prefix frame: which chunk of which pack in the footer's base table.
    package var base: Base?

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
        plainLength: UInt32,
        codec: Codec, base: Base?
    ) {
        self.hash = hash
        self.frameOffset = frameOffset
        self.containerOffset = containerOffset
        self.storedLength = storedLength
        self.plainLength = plainLength
        self.codec = codec
        self.base = base
    }

    /// The frame's place in the pack: header and payload.
    package var frame: Range<UInt64> {
        frameOffset..<(frameOffset + UInt64(PackFormat.frameHeaderLength) + UInt64(storedLength))
    }
}

/// A validated footer: chunk entries by index, without a copy.
///
/// The view borrows `bytes`; whoever makes it keeps them alive and unchanged.
@safe package struct PackFooter: @unchecked Sendable {
    // Sendable: reads immutable memory only.
    package let pack: PackReference
    private let base: UnsafeRawPointer
    package let baseCount: Int
    package var chunkCount: Int { Int(pack.chunkCount) }

    /// Checks `bytes` (footer with trailer) against the reference: hash, lengths, order, ranges.
    package init(_ bytes: UnsafeRawBufferPointer, of pack: PackReference) throws(StoreError) {
        func damaged(_ what: String) -> StoreError {
            StoreError(
                .damaged, "the pack's footer \(what)", object: pack.key.text,
                remedy: "Run `kaml check` to see which snapshots it hurts")
        }
        let trailer = PackFormat.trailerLength
        guard bytes.count == Int(pack.footerLength), let start = bytes.baseAddress,
            bytes.count >= PackFormat.footerHeaderLength + trailer,
            let body = unsafe bytes.part(at: 0, count: bytes.count - trailer),
            let tail = unsafe bytes.part(at: bytes.count - trailer, count: trailer),
            let end = tail.baseAddress
        else { throw damaged("is truncated") }
        guard unsafe tail.part(at: 40, count: 8)?.startsWith(PackFormat.trailerMagic) == true,
            unsafe ContentHash(loading: end) == pack.footerHash, unsafe end.u32(32) == pack.footerLength,
            unsafe end.u32(36) == 0,
            unsafe ContentHash.of(.packFooter, body) == pack.footerHash
        else { throw damaged("does not match its hash") }
        guard unsafe body.startsWith(PackFormat.footerMagic) else { throw damaged("has no footer magic") }
        guard unsafe start.u16(8) == PackFormat.version else {
            throw StoreError(
                .unsupported,
                unsafe "the pack has format version \(start.u16(8)), this kaml reads \(PackFormat.version)",
                object: pack.key.text, remedy: "Update kaml")
        }
        let baseCount = unsafe start.u32(16)
        guard unsafe PackLayout(rawValue: UInt32(start.u16(10))) == pack.layout,
            unsafe start.u32(12) == pack.chunkCount,
            baseCount <= PackFormat.limits.baseCount, unsafe start.u64(24) == pack.containerSize,
            unsafe start.u64(32) == pack.objectSize - UInt64(pack.footerLength),
            unsafe PackID(loading: start + 40) == pack.id,
            unsafe start.u32(20) == 0, unsafe start.u64(56) == 0
        else { throw damaged("contradicts the reference to it") }
        let expected =
            PackFormat.footerHeaderLength + Int(pack.chunkCount) * PackFormat.chunkEntryLength + Int(
                baseCount)
            * PackReference.byteCount
        guard body.count == expected else { throw damaged("has a wrong length") }
        self.pack = pack
        unsafe self.base = unsafe start
        self.baseCount = Int(baseCount)
        if let problem = unsafe firstProblem(frameEnd: start.u64(32)) { throw damaged(problem) }
    }

    package subscript(index: Int) -> ChunkEntry {
        precondition(index >= 0 && index < chunkCount)
        return entry(index)
    }

    /// The chunk whose plain bytes cover `containerOffset`, or the first after it; `chunkCount` past the end.
    package func chunk(at containerOffset: UInt64) -> Int {
        var low = 0
        var high = chunkCount
        while low < high {
            let middle = (low + high) / 2
            let entry = unsafe base + PackFormat.footerHeaderLength + middle * PackFormat.chunkEntryLength
            if unsafe entry.u64(40) + UInt64(entry.u32(52)) <= containerOffset {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    /// A pack that holds bases of this pack's prefix frames.
    package func basePack(_ index: UInt16) -> PackReference? {
        guard Int(index) < baseCount else { return nil }
        return unsafe PackReference(loading: baseTable + Int(index) * PackReference.byteCount)
    }

    package var basePacks: [PackReference] { (0..<baseCount).compactMap { basePack(UInt16($0)) } }

    private var baseTable: UnsafeRawPointer {
        unsafe base + PackFormat.footerHeaderLength + chunkCount * PackFormat.chunkEntryLength
    }

    private func entry(_ index: Int) -> ChunkEntry {
        let entry = unsafe base + PackFormat.footerHeaderLength + index * PackFormat.chunkEntryLength
        let codec = unsafe Codec(rawValue: entry.u8(56)) ?? .none
        let basePack = unsafe entry.u16(58)
        return unsafe ChunkEntry(
            hash: ContentHash(loading: entry), frameOffset: entry.u64(32), containerOffset: entry.u64(40),
            storedLength: entry.u32(48), plainLength: entry.u32(52), codec: codec,
            base: codec == .zstdPrefix ? .init(pack: basePack, chunk: entry.u32(60)) : nil)
    }

    private func firstProblem(frameEnd: UInt64) -> String? {
        let limits = PackFormat.limits
        var nextFrame = UInt64(PackFormat.headerLength)
        var nextPlain: UInt64 = 0
        for index in 0..<chunkCount {
            let raw = unsafe base + PackFormat.footerHeaderLength + index * PackFormat.chunkEntryLength
            guard let codec = unsafe Codec(rawValue: raw.u8(56)) else { return "names an unknown codec" }
            guard unsafe raw.u8(57) == 0,
                unsafe codec == .zstdPrefix || (raw.u16(58) == UInt16.max && raw.u32(60) == 0)
            else {
                return "has bits in a zero field"
            }
            let entry = entry(index)
            guard entry.plainLength > 0, entry.plainLength <= limits.plainLength,
                entry.storedLength <= entry.plainLength
            else { return "has a chunk length out of range" }
            guard entry.frameOffset >= nextFrame, entry.frameOffset <= frameEnd,
                entry.frame.upperBound <= frameEnd
            else { return "has frames that overlap or lie outside the pack" }
            guard entry.containerOffset >= nextPlain, entry.containerOffset <= pack.containerSize,
                UInt64(entry.plainLength) <= pack.containerSize - entry.containerOffset
            else { return "has chunks that overlap or lie outside the container" }
            // A manifest's record holds it in 32 bits.
            if pack.layout == .slots, entry.frameOffset > UInt64(UInt32.max) {
                return "has small files beyond 4 GiB"
            }
            if pack.layout == .slots, !entry.containerOffset.isMultiple(of: PackFormat.slotAlignment) {
                return "has a chunk that is not at a slot"
            }
            if let base = entry.base, Int(base.pack) >= baseCount { return "has a base out of range" }
            nextFrame = entry.frame.upperBound
            nextPlain = entry.containerOffset + UInt64(entry.plainLength)
        }
        for index in 0..<baseCount where basePack(UInt16(index)) == nil { return "has a bad base table" }
        return nil
    }
}

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
            unsafe start.u8(21) == 0, unsafe start.u16(22) == 0
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
