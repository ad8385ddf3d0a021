import Chunking
import ObjectStore

/// A validated footer: chunk entries by index, without a copy.
///
/// The view borrows `bytes`; whoever makes it keeps them alive and unchanged.
@safe package struct PackFooter: @unchecked Sendable {
    // Sendable: reads immutable memory only.
    package let pack: PackReference
    let base: UnsafeRawPointer
    package let baseCount: Int
    /// The foreign objects of a reference pack, in which every chunk is a reference; nil in other packs.
    package let sources: SourceTable?
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
            unsafe start.u64(56) == 0
        else { throw damaged("contradicts the reference to it") }
        let sourceTableLength = unsafe start.u32(20)
        guard sourceTableLength <= PackFormat.limits.sourceTableLength,
            (sourceTableLength > 0) == pack.holdsReferences
        else { throw damaged("has a source table where it must have none, or none where it needs one") }
        let tables =
            PackFormat.footerHeaderLength + Int(pack.chunkCount) * PackFormat.chunkEntryLength
            + Int(baseCount) * PackReference.byteCount
        guard body.count == tables + Int(sourceTableLength) else { throw damaged("has a wrong length") }
        self.pack = pack
        unsafe self.base = unsafe start
        self.baseCount = Int(baseCount)
        if sourceTableLength > 0 {
            guard let bytes = unsafe body.part(at: tables, count: Int(sourceTableLength)),
                let sources = unsafe SourceTable(bytes)
            else { throw damaged("has a source table that is not well-formed") }
            self.sources = sources
        } else {
            sources = nil
        }
        if let problem = unsafe firstProblem(frameEnd: start.u64(32)) {
            guard !problem.needsNewerProgram else {
                throw StoreError(
                    .unsupported, "the pack's footer \(problem.text)", object: pack.key.text,
                    remedy: "Update kaml")
            }
            throw damaged(problem.text)
        }
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

    /// Bytes of all chunks together.
    package var plainBytes: UInt64 { (0..<chunkCount).reduce(0) { $0 + UInt64(entry($1).plainLength) } }

    /// Where the bytes of a chunk of a reference pack lie; nil in other packs.
    package func referenced(_ chunk: Int) -> (object: Int, range: Range<UInt64>)? {
        let entry = self[chunk]
        return entry.object.map { (Int($0), entry.objectRange) }
    }

    func entry(_ index: Int) -> ChunkEntry {
        let entry = unsafe base + PackFormat.footerHeaderLength + index * PackFormat.chunkEntryLength
        let codec = unsafe Codec(rawValue: entry.u8(56)) ?? .none
        let basePack = unsafe entry.u16(58)
        return unsafe ChunkEntry(
            hash: ContentHash(loading: entry), frameOffset: entry.u64(32), containerOffset: entry.u64(40),
            storedLength: entry.u32(48), plainLength: entry.u32(52), codec: codec,
            base: codec == .zstdPrefix ? .init(pack: basePack, chunk: entry.u32(60)) : nil,
            object: codec == .reference ? entry.u32(60) : nil)
    }
}
