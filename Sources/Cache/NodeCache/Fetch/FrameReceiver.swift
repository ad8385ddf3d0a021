import Chunking
import DatasetStore
import System

/// Takes the frames of one stream as they come and settles each chunk when its frame is whole. Never reads from a store:
/// a request inside a request could wait for itself.
final class FrameReceiver {
    private let run: FetchRun
    private let claims: ArraySlice<FetchClaim>
    private let buffers: FetchBuffers
    private var stream: PlainStream?

    /// Frames to be read again, alone.
    private(set) var failed: [FailedFrame] = []
    /// Chunks that were answered and wait for the footer.
    private(set) var unlisted: [UnlistedChunk] = []
    /// Prefix frames whose base is not at hand.
    private(set) var waiting: [PrefixFrame] = []

    init(_ run: FetchRun, _ claims: ArraySlice<FetchClaim>, _ buffers: FetchBuffers) {
        self.run = run
        self.claims = claims
        self.buffers = buffers
    }

    func take(_ fragment: FrameCutter.Fragment) {
        let claim = claims[claims.startIndex + fragment.frame]
        if fragment.offset == 0 {
            stream = nil
            if fragment.isLast { return unsafe settle(claim, fragment.bytes) }
            // A tag is compared before anything is kept.
            stream = run.tag(of: claim) == nil ? PlainStream(claim, run.container, buffers) : nil
        }
        if stream != nil {
            unsafe stream?.take(fragment.bytes)
            if fragment.isLast { finishStream(claim) }
            return
        }
        let frame = unsafe buffers.frame(claim.length)
        unsafe UnsafeMutableRawBufferPointer(rebasing: frame[fragment.offset...])
            .copyMemory(from: fragment.bytes)
        if fragment.isLast { unsafe settle(claim, UnsafeRawBufferPointer(frame)) }
    }

    private func finishStream(_ claim: FetchClaim) {
        let ending = stream?.finish()
        stream = nil
        switch ending {
        case .kept(let hash):
            guard run.container.keepHash(claim.chunk, claim.entry, hash) else {
                failed.append(FailedFrame(claim: claim, wasRefused: true))
                return
            }
            run.context.counters.verifiedChunks.count()
            run.container.didStore(claim.chunk, bytes: Int(claim.entry.plainLength))
            unsafe run.scheduler.finish(run.container, claim.chunk, .stored(nil))
        case .refused(let error):
            run.context.noticeDiskTrouble(error)
            failed.append(FailedFrame(claim: claim, wasRefused: true))
        case .damaged(let hash)?:
            run.context.counters.failedChunks.count()
            failed.append(FailedFrame(claim: claim, hash: hash))
        case nil: break
        }
    }

    /// A whole frame.
    private func settle(_ claim: FetchClaim, _ frame: UnsafeRawBufferPointer) {
        var base: PrefixBase?
        var basePlain: UnsafeRawBufferPointer?
        if claim.entry.codec == .zstdPrefix {
            base = try? PrefixBase(of: claim, in: run.container, run.scheduler.registry, isLocal: true)
            if let base, base.container.isPresent(base.chunk) { unsafe basePlain = unsafe base.read(buffers) }
            if unsafe basePlain == nil {
                unsafe waiting.append(PrefixFrame(run: run, claim: claim, copying: frame))
                return
            }
        }
        let container = run.container
        do throws(CodecError) {
            let chunk = try unsafe run.decode(claim, frame, base: basePlain, buffers)
            let plain = unsafe chunk.plain
            run.context.counters.verifiedChunks.count()
            if container.disk == nil { return unsafe run.keep(claim, plain, chunk.hash) }
            guard container.footerLoader.known != nil else {
                unsafe run.scheduler.answer(container, claim.chunk, plain)
                unsafe unlisted.append(UnlistedChunk(claim: claim, copying: plain))
                return
            }
            if container.lists(claim.chunk, claim.entry) { return unsafe run.keep(claim, plain, chunk.hash) }
            run.scheduler.finish(container, claim.chunk, .failed(run.contradiction(claim)))
        } catch {
            run.context.counters.failedChunks.count()
            let hash = unsafe claim.entry.codec == .reference ? buffers.hasher.hash(.chunk, frame) : nil
            failed.append(FailedFrame(claim: claim, base: base, hash: hash))
        }
    }
}

/// A large chunk that goes into its container piece by piece, hashed on the way: no frame is ever whole in memory. Its
/// bit is set only when all of it was right.
@safe struct PlainStream {
    enum Ending {
        case kept(ContentHash)
        /// Right, but the disk did not take it.
        case refused(Errno)
        case damaged(ContentHash)
    }

    /// Smaller chunks are cheaper to assemble.
    static let threshold = 256 << 10
    /// Small pieces are written as blocks of this size, which the processor's cache holds.
    private static let blockSize = 128 << 10

    private let claim: FetchClaim
    /// Nil when nobody knows yet.
    private let expected: ContentHash?
    private let disk: ContainerDisk
    private let buffers: FetchBuffers
    /// The frame's header, then a block.
    private let memory: UnsafeMutableRawBufferPointer
    private var headerCount = 0
    private var staged = 0
    private var written = 0
    private var refusal: Errno?

    /// Nil for chunks that have to be in memory before they can be kept.
    init?(_ claim: FetchClaim, _ container: Container, _ buffers: FetchBuffers) {
        let isPlain = claim.entry.codec == .none || claim.entry.codec == .reference
        guard isPlain, claim.entry.storedLength == claim.entry.plainLength, claim.length > Self.threshold,
            // What goes by a disk that takes nothing would have to be read twice.
            !container.context.diskRefuses, let disk = container.disk,
            container.lists(claim.chunk, claim.entry),
            container.context.space.admits(claim.length, container)
        else { return nil }
        self.claim = claim
        expected = container.expectedHash(claim.chunk, claim.entry)
        self.disk = disk
        self.buffers = buffers
        unsafe memory = unsafe buffers.staging(PackFormat.frameHeaderLength + Self.blockSize)
        buffers.streamHasher.begin(.chunk)
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        var taken = 0
        if headerCount < claim.headerLength {
            taken = min(bytes.count, claim.headerLength - headerCount)
            unsafe copy(bytes[..<taken], to: headerCount)
            headerCount += taken
        }
        while taken < bytes.count {
            let left = bytes.count - taken
            if staged == 0, left >= Self.blockSize / 2 {
                // Large enough as it is; in blocks, so that what was hashed is still near when it is written.
                let count = min(left, Self.blockSize)
                unsafe write(UnsafeRawBufferPointer(rebasing: bytes[taken..<(taken + count)]))
                taken += count
            } else {
                let count = min(left, Self.blockSize - staged)
                unsafe copy(
                    bytes[taken..<(taken + count)], to: PackFormat.frameHeaderLength + staged)
                staged += count
                taken += count
                if staged == Self.blockSize { flush() }
            }
        }
    }

    mutating func finish() -> Ending {
        flush()
        let hash = buffers.streamHasher.finish()
        guard written == Int(claim.entry.plainLength), isHeaderRight, hash == expected ?? hash else {
            return .damaged(hash)
        }
        return refusal.map { .refused($0) } ?? .kept(hash)
    }

    private var isHeaderRight: Bool {
        if claim.headerLength == 0 { return true }
        let header = unsafe UnsafeRawBufferPointer(rebasing: memory[..<PackFormat.frameHeaderLength])
        return unsafe FrameHeader(header) == claim.header
    }

    private func copy(_ bytes: Slice<UnsafeRawBufferPointer>, to offset: Int) {
        unsafe UnsafeMutableRawBufferPointer(rebasing: memory[offset...])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes))
    }

    private mutating func flush() {
        if staged == 0 { return }
        let first = PackFormat.frameHeaderLength
        unsafe write(UnsafeRawBufferPointer(rebasing: memory[first..<(first + staged)]))
        staged = 0
    }

    private mutating func write(_ bytes: UnsafeRawBufferPointer) {
        unsafe buffers.streamHasher.update(bytes)
        if refusal == nil {
            do throws(Errno) {
                try unsafe disk.write(bytes, at: claim.entry.containerOffset + UInt64(written))
            } catch { refusal = error }
        }
        written += bytes.count
    }
}
