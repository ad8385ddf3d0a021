import Chunking
import ObjectStore

/// One thread's buffers and decoder: reads a run of frames at once, then judges each frame on its own.
@safe final class FrameChecker {
    let footers: PackFooters
    let bases: PlainChunkCache
    private let store: any ObjectStore
    private var window: UnsafeMutableRawBufferPointer
    private var filled = 0
    private let plain: UnsafeMutableRawBufferPointer
    private let decoder = FrameDecoder()
    private let hasher = ContentHasher()
    /// For the bases of prefix frames.
    private var chunks: ChunkReader

    init(_ footers: PackFooters, bases: PlainChunkCache) {
        self.footers = footers
        self.bases = bases
        store = footers.store
        chunks = ChunkReader(footers, bases: bases)
        unsafe window = .allocate(byteCount: 1 << 20, alignment: 64)
        unsafe plain = .allocate(byteCount: Int(PackFormat.limits.plainLength), alignment: 64)
    }

    deinit {
        unsafe window.deallocate()
        unsafe plain.deallocate()
    }

    /// The bytes that were read last; valid until the next read.
    var windowBytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: window[..<filled])
    }

    /// Reads a range of a pack; says what is wrong with it when that fails. Throws when the store is gone.
    func readWindow(_ pack: PackReference, _ range: Range<UInt64>) throws(StoreError) -> CheckReport.Problem?
    {
        do throws(ObjectStoreError) {
            try read(pack, range, from: store)
            return nil
        } catch {
            if error.code == .unavailable { throw StoreError(error) }
            return CheckReport.Problem(StoreError(error))
        }
    }

    /// Reads a range of a pack; another store than the checker's may hold it as well.
    func read(
        _ pack: PackReference, _ range: Range<UInt64>, from store: any ObjectStore
    ) throws(ObjectStoreError) {
        let count = Int(range.upperBound - range.lowerBound)
        if unsafe window.count < count {
            unsafe window.deallocate()
            unsafe window = .allocate(byteCount: count, alignment: 64)
        }
        filled = count
        let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: window[..<count])
        try unsafe store.read(pack.key, from: range.lowerBound, into: buffer)
    }

    /// What is wrong with one chunk whose frame lies in the window; nil when it is sound.
    func problem(
        of index: Int, in footer: PackFooter, windowStart: UInt64
    ) throws(StoreError) -> CheckReport.Problem? {
        let entry = footer[index]
        guard
            let frame = unsafe windowBytes.part(
                at: Int(entry.frameOffset - windowStart), count: entry.frame.count)
        else {
            return .corrupt("lies outside the pack")
        }
        let expected = FrameHeader(
            index: UInt32(index), storedLength: entry.storedLength, plainLength: entry.plainLength,
            codec: entry.codec)
        guard unsafe FrameHeader(frame) == expected else { return .corrupt("has a damaged frame header") }
        let payload = unsafe UnsafeRawBufferPointer(rebasing: frame[PackFormat.frameHeaderLength...])
        guard let wanted = entry.base else { return unsafe problem(of: entry, payload, base: nil) }
        guard let pack = footer.basePack(wanted.pack) else { return .corrupt("names a base out of range") }
        let base: PlainChunk
        do throws(StoreError) { base = try chunks.plain(pack, wanted.chunk) } catch {
            if error.code == .unavailable { throw error }
            return .corrupt("needs chunk \(wanted.chunk) of \(pack.key), which cannot be read")
        }
        return unsafe problem(of: entry, payload, base: base.bytes)
    }

    /// A chunk that needs no base itself, out of the window; nil when it is not sound.
    func plainChunk(_ index: Int, in footer: PackFooter, windowStart: UInt64) -> PlainChunk? {
        let entry = footer[index]
        let isSound =
            entry.base == nil ? try? problem(of: index, in: footer, windowStart: windowStart) == nil : false
        guard isSound == true else { return nil }
        return unsafe PlainChunk(count: Int(entry.plainLength)) { memory in
            unsafe memory.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: plain[..<Int(entry.plainLength)]))
        }
    }

    private func problem(
        of entry: ChunkEntry, _ payload: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer?
    ) -> CheckReport.Problem? {
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: plain[..<Int(entry.plainLength)])
        do throws(CodecError) {
            try unsafe decoder.decode(entry.codec, payload, prefix: base, into: target)
        } catch { return .corrupt("cannot be decompressed (\(error))") }
        let hash = unsafe hasher.hash(.chunk, UnsafeRawBufferPointer(target))
        return hash == entry.hash ? nil : .corrupt("does not match its hash")
    }
}
