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
    private var filler: BlockFiller?

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
        if run.container.hasDisk { filler = BlockFiller(run) }
    }

    /// No more frames come: what is not written yet is written now.
    func end() { filler?.flush() }

    func take(_ fragment: FrameCutter.Fragment) {
        let claim = claims[claims.startIndex + fragment.frame]
        if fragment.offset == 0 {
            stream = nil
            if fragment.isLast { return unsafe settle(claim, fragment.bytes) }
            if PlainStream.takes(claim, run), let place = unsafe filler?.place(claim) {
                stream = unsafe PlainStream(claim, run.container, into: place, buffers)
            }
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
        case .verified(let hash)?:
            run.context.counters.verifiedChunks.count()
            filler?.keep(claim, hash)
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
            if !container.hasDisk { return unsafe run.keep(claim, plain, chunk.hash) }
            guard container.footerLoader.known != nil else {
                unsafe run.scheduler.answer(container, claim.chunk, plain)
                unsafe unlisted.append(UnlistedChunk(claim: claim, copying: plain))
                return
            }
            if container.lists(claim.chunk, claim.entry) { return unsafe keep(claim, plain, chunk.hash) }
            run.scheduler.finish(container, claim.chunk, .failed(run.contradiction(claim)))
        } catch {
            run.context.counters.failedChunks.count()
            let hash = unsafe claim.entry.codec == .reference ? buffers.hasher.hash(.chunk, frame) : nil
            failed.append(FailedFrame(claim: claim, base: base, hash: hash))
        }
    }

    private func keep(_ claim: FetchClaim, _ plain: UnsafeRawBufferPointer, _ hash: ContentHash) {
        guard let place = unsafe filler?.place(claim) else { return unsafe run.keep(claim, plain, hash) }
        unsafe place.copyMemory(from: plain)
        filler?.keep(claim, hash)
    }
}

/// A large chunk that goes into its block piece by piece, hashed on the way.
@safe struct PlainStream {
    enum Ending {
        case verified(ContentHash)
        case damaged(ContentHash)
    }

    /// Smaller chunks are cheaper to assemble.
    static let threshold = 256 << 10

    private let claim: FetchClaim
    /// Nil when nobody knows yet.
    private let expected: ContentHash?
    private let buffers: FetchBuffers
    /// The chunk's place in its block.
    private let plain: UnsafeMutableRawBufferPointer
    private var header: [UInt8] = []
    private var filled = 0

    /// Whether a chunk can be taken so: it has to be in memory, with its header, before a codec or a tag can be asked.
    static func takes(_ claim: FetchClaim, _ run: FetchRun) -> Bool {
        let isPlain = claim.entry.codec == .none || claim.entry.codec == .reference
        return isPlain && claim.entry.storedLength == claim.entry.plainLength
            && claim.length > threshold && run.tag(of: claim) == nil
            && run.container.lists(claim.chunk, claim.entry)
    }

    init(
        _ claim: FetchClaim, _ container: Container, into plain: UnsafeMutableRawBufferPointer,
        _ buffers: FetchBuffers
    ) {
        self.claim = claim
        expected = container.expectedHash(claim.chunk, claim.entry)
        unsafe self.plain = unsafe plain
        self.buffers = buffers
        header.reserveCapacity(claim.headerLength)
        buffers.streamHasher.begin(.chunk)
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        var taken = 0
        if header.count < claim.headerLength {
            taken = min(bytes.count, claim.headerLength - header.count)
            unsafe header.append(contentsOf: bytes[..<taken])
        }
        let count = min(bytes.count - taken, unsafe plain.count - filled)
        guard count > 0 else { return }
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: plain[filled..<(filled + count)])
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[taken..<(taken + count)]))
        // Right behind the copy, while the processor's cache has it.
        unsafe buffers.streamHasher.update(UnsafeRawBufferPointer(target))
        filled += count
    }

    mutating func finish() -> Ending {
        let hash = buffers.streamHasher.finish()
        guard unsafe filled == plain.count, isHeaderRight, hash == expected ?? hash else {
            return .damaged(hash)
        }
        return .verified(hash)
    }

    private var isHeaderRight: Bool {
        if claim.headerLength == 0 { return true }
        return unsafe header.withUnsafeBytes { unsafe FrameHeader($0) } == claim.header
    }
}
