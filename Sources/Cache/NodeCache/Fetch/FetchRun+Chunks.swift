import Chunking
import DatasetStore
import ObjectStore
import System

/// One chunk: from the disk or from its frame, into the container, to those who wait.
extension FetchRun {
    /// Whether the pack's footer lists the claim as it is. A claim out of a manifest record says itself where its bytes
    /// go, in a container that all datasets share: only the footer, which the pack's name vouches for, may say that.
    /// Nil when the footer cannot be had. May read it from the store.
    func isListed(_ claim: FetchClaim) -> Bool? {
        guard let footer = try? container.footer() else { return nil }
        return claim.chunk < footer.chunkCount && footer[claim.chunk].describesSame(as: claim.entry)
    }

    func contradiction(_ claim: FetchClaim) -> CacheError {
        .contradiction(container.pack, claim.chunk, "contradicts the pack's footer")
    }

    /// A chunk that is on disk but not trusted: hashed now. False when it has to be fetched.
    func settleFromDisk(_ claim: FetchClaim, _ buffers: FetchBuffers) -> Bool {
        guard container.bitmap.isPresent(claim.chunk), let disk = container.disk,
            let isListed = isListed(claim)
        else { return false }
        guard isListed else {
            scheduler.finish(container, claim.chunk, .failed(contradiction(claim)))
            return true
        }
        // A sealed chunk comes here trusted, too, when it arrived beside the request.
        let wasTrusted = container.isPresent(claim.chunk)
        if !wasTrusted { context.counters.recheckedChunks.count() }
        let plain = unsafe buffers.plain(Int(claim.entry.plainLength))
        guard unsafe disk.read(claim.chunk, into: plain, at: claim.entry.containerOffset),
            let expected = container.expectedHash(claim.chunk, claim.entry),
            unsafe buffers.hasher.hash(.chunk, UnsafeRawBufferPointer(plain)) == expected
        else {
            context.counters.rejectedChunks.count()
            container.reject(claim.chunk)
            return false
        }
        if !wasTrusted { container.trust(claim.chunk) }
        unsafe scheduler.finish(container, claim.chunk, .stored(UnsafeRawBufferPointer(plain)))
        return true
    }

    /// Keeps a verified chunk that the footer is known to list, and answers.
    func keep(_ claim: FetchClaim, _ plain: UnsafeRawBufferPointer, _ hash: ContentHash) {
        let isStored =
            unsafe container.keepHash(claim.chunk, claim.entry, hash)
            && container.store(claim.chunk, at: claim.entry.containerOffset, plain)
        unsafe scheduler.finish(container, claim.chunk, isStored ? .stored(plain) : .memory(plain))
    }

    /// A verified chunk of which only a manifest says where it belongs, in memory of its own: those who wait have
    /// their answer already. Reads the footer.
    func keepUnlisted(_ chunk: UnlistedChunk) {
        let plain = unsafe UnsafeRawBufferPointer(chunk.plain)
        defer { unsafe chunk.plain.deallocate() }
        switch isListed(chunk.claim) {
        case true?: unsafe keep(chunk.claim, plain, chunk.claim.entry.hash)
        case false?: scheduler.finish(container, chunk.claim.chunk, .failed(contradiction(chunk.claim)))
        // Without a footer the bytes are right, their place is not known to be.
        case nil: unsafe scheduler.finish(container, chunk.claim.chunk, .memory(plain))
        }
    }

    /// The chunk's plain bytes, verified, and their hash: in the frame itself when it is not compressed.
    func decode(
        _ claim: FetchClaim, _ frame: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer?,
        _ buffers: FetchBuffers
    ) throws(CodecError) -> VerifiedChunk {
        let entry = claim.entry
        if entry.codec == .reference {
            let hash = unsafe buffers.hasher.hash(.chunk, frame)
            if let expected = container.expectedHash(claim.chunk, entry), expected != hash {
                throw CodecError("the bytes do not match their hash")
            }
            guard unsafe agreesWithTag(claim, frame) else {
                throw CodecError("the bytes do not match their tag")
            }
            return unsafe VerifiedChunk(plain: frame, hash: hash)
        }
        guard unsafe FrameHeader(frame) == claim.header else {
            throw CodecError("the frame's header is not the one listed")
        }
        let payload = unsafe UnsafeRawBufferPointer(rebasing: frame[PackFormat.frameHeaderLength...])
        let plain: UnsafeRawBufferPointer
        if entry.codec == .none {
            guard entry.storedLength == entry.plainLength else {
                throw CodecError("stored and plain length differ")
            }
            unsafe plain = unsafe payload
        } else {
            let buffer = unsafe buffers.plain(Int(entry.plainLength))
            try unsafe buffers.decoder.decode(entry.codec, payload, prefix: base, into: buffer)
            unsafe plain = UnsafeRawBufferPointer(buffer)
        }
        guard unsafe buffers.hasher.hash(.chunk, plain) == entry.hash else {
            throw CodecError("the bytes do not match their hash")
        }
        return unsafe VerifiedChunk(plain: plain, hash: entry.hash)
    }

    /// Settles a chunk whose bytes were hurt on the way from a frame that is read anew.
    func again(_ frame: FailedFrame, _ buffers: FetchBuffers) {
        let claim = frame.claim
        do throws(CacheError) {
            let chunk = try decodeAgain(frame, buffers)
            context.counters.verifiedChunks.count()
            if container.disk == nil || container.footerLoader.known != nil {
                guard container.disk == nil || isListed(claim) == true else { throw contradiction(claim) }
                unsafe keep(claim, chunk.plain, chunk.hash)
            } else {
                unsafe scheduler.answer(container, claim.chunk, chunk.plain)
                unsafe keepUnlisted(UnlistedChunk(claim: claim, copying: chunk.plain))
            }
        } catch {
            scheduler.finish(container, claim.chunk, .failed(error))
        }
    }

    /// Bytes may be hurt on the way: reads the frame, and its base, anew, and only then calls the pack damaged.
    private func decodeAgain(
        _ failed: FailedFrame, _ buffers: FetchBuffers
    ) throws(CacheError) -> VerifiedChunk {
        let claim = failed.claim
        var basePlain: UnsafeRawBufferPointer?
        if let base = failed.base {
            // Perhaps the base rotted on this disk.
            base.container.distrust(base.chunk)
            unsafe basePlain = unsafe try fresh(base, buffers)
        }
        let frame = unsafe buffers.retry(claim.length)
        try unsafe read(claim, into: frame)
        let bytes = UnsafeRawBufferPointer(frame)
        if claim.entry.codec == .reference {
            try unsafe settleAgain(claim, bytes, before: failed.hash, buffers)
            return unsafe VerifiedChunk(plain: bytes, hash: buffers.hasher.hash(.chunk, bytes))
        }
        do throws(CodecError) {
            return try unsafe decode(claim, bytes, base: basePlain, buffers)
        } catch {
            context.counters.failedChunks.count()
            throw damaged(claim.chunk, error)
        }
    }

    /// A base's plain bytes straight from its store, verified.
    func fresh(_ base: PrefixBase, _ buffers: FetchBuffers) throws(CacheError) -> UnsafeRawBufferPointer {
        let run = FetchRun(scheduler, base.container)
        let claim = FetchClaim(chunk: base.chunk, entry: base.entry)
        let frame = unsafe buffers.retry(claim.length)
        try unsafe run.read(claim, into: frame)
        do throws(CodecError) {
            let plain = try unsafe run.decode(claim, UnsafeRawBufferPointer(frame), base: nil, buffers).plain
            let kept = unsafe buffers.base(plain.count)
            unsafe kept.copyMemory(from: plain)
            return UnsafeRawBufferPointer(kept)
        } catch { throw run.damaged(base.chunk, error) }
    }

    private func damaged(_ chunk: Int, _ cause: CodecError) -> CacheError {
        CacheError(
            .damaged, "a chunk of the pack is damaged in the store", object: container.pack.key.text,
            chunk: chunk,
            cause: cause,
            remedy:
                "Run `kaml check --read-data` to see which files it hurts, and restore the pack from a copy of the store"
        )
    }
}

/// A chunk's plain bytes, which are what they must be.
@safe struct VerifiedChunk {
    let plain: UnsafeRawBufferPointer
    let hash: ContentHash
}

/// A frame to be read again.
struct FailedFrame {
    var claim: FetchClaim
    var base: PrefixBase?
    /// What the bytes of a reference hashed to.
    var hash: ContentHash?
}

/// A verified chunk whose place no footer has confirmed yet, in memory of its own.
@safe struct UnlistedChunk {
    let claim: FetchClaim
    let plain: UnsafeMutableRawBufferPointer

    init(claim: FetchClaim, copying plain: UnsafeRawBufferPointer) {
        self.claim = claim
        unsafe self.plain = .allocate(byteCount: plain.count, alignment: 64)
        unsafe self.plain.copyMemory(from: plain)
    }
}
