import Chunking
import ObjectStore

/// Reads chunks straight from a store and verifies them. One a thread: it owns a decoder and buffers.
@safe package struct ChunkReader: ~Copyable {
    private let store: any ObjectStore
    package let footers: PackFooters
    private let bases: PlainChunkCache
    private let decoder = FrameDecoder()
    private let hasher = ContentHasher()
    private var frames: UnsafeMutableRawBufferPointer

    /// Bytes that one request brings at most, when frames that lie in a row are wanted.
    private static let readAhead: UInt64 = 4 << 20

    /// Readers of one store may share footers and bases.
    package init(_ footers: PackFooters, bases: PlainChunkCache) {
        store = footers.store
        self.footers = footers
        self.bases = bases
        unsafe frames = .allocate(byteCount: 256 << 10, alignment: 64)
    }

    deinit { unsafe frames.deallocate() }

    /// One chunk's plain bytes. `plain` has exactly `entry.plainLength` bytes. The base of a prefix frame
    /// is looked up in the footer when the entry, coming from a manifest, does not name it.
    package mutating func read(
        _ entry: ChunkEntry, chunk: UInt32, of pack: PackReference, into plain: UnsafeMutableRawBufferPointer
    ) throws(StoreError) {
        guard entry.codec != .reference else {
            return try unsafe ReferenceReader(footers).read(chunk, of: pack, into: plain)
        }
        let frame = try unsafe load(entry.frame, of: pack)
        try unsafe decode(entry, chunk, of: pack, frame: frame, into: plain)
    }

    /// A run of neighbouring chunks of a pack, each given to `body` as it is verified.
    package mutating func readRun(
        _ pack: PackReference, _ chunks: Range<UInt32>,
        _ body: (ChunkEntry, UnsafeRawBufferPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        guard !pack.holdsReferences else {
            return try unsafe ReferenceReader(footers).read(chunks, of: pack, body)
        }
        let footer = try footers.image(of: pack)
        guard Int(chunks.upperBound) <= footer.footer.chunkCount else {
            throw damaged(pack, chunks.lowerBound, "is not in the pack")
        }
        var next = chunks.lowerBound
        let plain = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(PackFormat.limits.plainLength), alignment: 64)
        defer { unsafe plain.deallocate() }
        while next < chunks.upperBound {
            let first = footer.footer[Int(next)]
            var end = next + 1
            while end < chunks.upperBound,
                footer.footer[Int(end)].frame.upperBound - first.frameOffset <= Self.readAhead
            { end += 1 }
            let range = first.frameOffset..<footer.footer[Int(end - 1)].frame.upperBound
            let bytes = try unsafe load(range, of: pack)
            for index in next..<end {
                let entry = footer.footer[Int(index)]
                let frame = unsafe UnsafeRawBufferPointer(
                    rebasing: bytes[
                        Int(
                            entry.frame.lowerBound - range.lowerBound)..<Int(
                                entry.frame.upperBound - range.lowerBound)])
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: plain[..<Int(entry.plainLength)])
                try unsafe decode(entry, index, of: pack, frame: frame, into: part)
                try unsafe body(entry, UnsafeRawBufferPointer(part))
            }
            next = end
        }
    }

    /// A chunk that needs no base itself, kept for the next one who needs it.
    package mutating func plain(_ pack: PackReference, _ chunk: UInt32) throws(StoreError) -> PlainChunk {
        let key = PlainChunkCache.Key(pack: pack.id, chunk: chunk)
        if let kept = bases.find(key) { return kept }
        let footer = try footers.image(of: pack)
        guard Int(chunk) < footer.footer.chunkCount else { throw damaged(pack, chunk, "is not in the pack") }
        let entry = footer.footer[Int(chunk)]
        guard entry.base == nil else { throw damaged(pack, chunk, "is a base and needs a base itself") }
        guard entry.codec != .reference else { throw damaged(pack, chunk, "is a base and may change") }
        // Not through `frames`: the caller's own frame may lie there.
        let frame = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(entry.frame.upperBound - entry.frame.lowerBound), alignment: 64)
        defer { unsafe frame.deallocate() }
        try unsafe fetch(entry.frame.lowerBound, of: pack, into: frame)
        let plain = try unsafe PlainChunk(count: Int(entry.plainLength)) { memory throws(StoreError) in
            try unsafe decode(
                entry, chunk, of: pack, frame: UnsafeRawBufferPointer(frame), base: nil, into: memory)
        }
        bases.keep(plain, as: key)
        return plain
    }

    /// Reads into `frames`, which is valid until the next call.
    private mutating func load(_ range: Range<UInt64>, of pack: PackReference) throws(StoreError)
        -> UnsafeRawBufferPointer
    {
        let count = Int(range.upperBound - range.lowerBound)
        if unsafe frames.count < count {
            unsafe frames.deallocate()
            unsafe frames = .allocate(byteCount: count, alignment: 64)
        }
        let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: frames[..<count])
        try unsafe fetch(range.lowerBound, of: pack, into: buffer)
        return UnsafeRawBufferPointer(buffer)
    }

    private func fetch(
        _ offset: UInt64, of pack: PackReference, into buffer: UnsafeMutableRawBufferPointer
    ) throws(StoreError) {
        do throws(ObjectStoreError) { try unsafe store.read(pack.key, from: offset, into: buffer) } catch {
            var wrapped = StoreError(error)
            wrapped.object = pack.key.text
            throw wrapped
        }
    }

    private mutating func decode(
        _ entry: ChunkEntry, _ chunk: UInt32, of pack: PackReference, frame: UnsafeRawBufferPointer,
        into plain: UnsafeMutableRawBufferPointer
    ) throws(StoreError) {
        guard entry.codec == .zstdPrefix else {
            return try unsafe decode(entry, chunk, of: pack, frame: frame, base: nil, into: plain)
        }
        let footer = try footers.image(of: pack)
        guard Int(chunk) < footer.footer.chunkCount, let place = footer.footer[Int(chunk)].base,
            let basePack = footer.footer.basePack(place.pack)
        else { throw damaged(pack, chunk, "names no base") }
        let base = try self.plain(basePack, place.chunk)
        try unsafe decode(entry, chunk, of: pack, frame: frame, base: base.bytes, into: plain)
    }

    private func decode(
        _ entry: ChunkEntry, _ chunk: UInt32, of pack: PackReference, frame: UnsafeRawBufferPointer,
        base: UnsafeRawBufferPointer?, into plain: UnsafeMutableRawBufferPointer
    ) throws(StoreError) {
        let expected = FrameHeader(
            index: chunk, storedLength: entry.storedLength, plainLength: entry.plainLength, codec: entry.codec
        )
        guard unsafe FrameHeader(frame) == expected else {
            throw damaged(pack, chunk, "has a damaged frame header")
        }
        let payload = unsafe UnsafeRawBufferPointer(rebasing: frame[PackFormat.frameHeaderLength...])
        do throws(CodecError) {
            try unsafe decoder.decode(entry.codec, payload, prefix: base, into: plain)
        } catch { throw damaged(pack, chunk, "cannot be decompressed", error) }
        guard unsafe hasher.hash(.chunk, UnsafeRawBufferPointer(plain)) == entry.hash else {
            throw damaged(pack, chunk, "does not match its hash")
        }
    }

    private func damaged(
        _ pack: PackReference, _ chunk: UInt32, _ what: String, _ cause: (any Error)? = nil
    ) -> StoreError {
        StoreError(
            .damaged, "chunk \(chunk) of the pack \(what)", object: pack.key.text, cause: cause,
            remedy: "Run `kaml check --read-data` to see which snapshots it hurts")
    }
}
