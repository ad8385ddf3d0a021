import Chunking
import DatasetStore
import ObjectStore
import System

/// One job on its thread: reads ranges of a pack, checks every frame, fills the container, answers.
struct FetchRun {
    let scheduler: FetchScheduler
    let container: Container
    private let origin: (any ObjectStore)?

    init(_ scheduler: FetchScheduler, _ container: Container) {
        self.scheduler = scheduler
        self.container = container
        origin = container.origin
    }

    private var context: CacheContext { scheduler.context }

    /// A prefix frame that waits for its base, in memory of its own.
    @safe private struct Waiting {
        let run: FetchRun
        let claim: FetchClaim
        let base: PrefixBase
        let frame: UnsafeMutableRawBufferPointer
    }

    /// Runs the jobs that one thread has undertaken: first every plain frame of all of them, since others may wait
    /// for those, then the frames that have to wait for bases themselves.
    static func run(_ jobs: [FetchJob], _ scheduler: FetchScheduler) {
        if jobs.isEmpty { return }
        scheduler.pool.with { buffers in
            var waiting: [Waiting] = []
            for job in jobs { FetchRun(scheduler, job.container).run(job, buffers, &waiting) }
            finish(waiting, scheduler, buffers)
        }
    }

    private func run(_ job: FetchJob, _ buffers: FetchBuffers, _ waiting: inout [Waiting]) {
        var claims = job.claims.sorted { $0.chunk < $1.chunk }
        if container.hasDisk, job.ahead > 0 || claims.count > 1, let footer = footerForReadahead(job) {
            claims = scheduler.extend(job, footer)
        }
        let missing = claims.filter { !settleFromDisk($0, buffers) }
        for range in FetchPlan.ranges(missing, limit: scheduler.rangeLimit, gap: context.options.gapTolerance)
        {
            fetch(range, buffers, &waiting)
        }
    }

    /// Reading ahead is worth a read of the footer; joining a few frames is not.
    private func footerForReadahead(_ job: FetchJob) -> PackFooter? {
        if let known = container.footerLoader.known { return known }
        return job.ahead > 0 ? try? container.footer() : nil
    }

    /// Whether the pack's footer lists the claim as it is. A claim out of a manifest record says itself where its bytes
    /// go, in a container that all datasets share: only the footer, which the pack's name vouches for, may say that.
    /// Nil when the footer cannot be had.
    private func isListed(_ claim: FetchClaim) -> Bool? {
        guard let footer = try? container.footer() else { return nil }
        return claim.chunk < footer.chunkCount && footer[claim.chunk].describesSame(as: claim.entry)
    }

    private func contradiction(_ claim: FetchClaim) -> CacheError {
        FetchPart(container: container, chunks: claim.chunk..<(claim.chunk + 1))
            .damaged("contradicts the pack's footer")
    }

    /// A chunk that is on disk but not trusted: hashed now. False when it has to be fetched.
    private func settleFromDisk(_ claim: FetchClaim, _ buffers: FetchBuffers) -> Bool {
        guard container.bitmap.isPresent(claim.chunk), let disk = container.disk,
            let isListed = isListed(claim)
        else { return false }
        guard isListed else {
            scheduler.finish(container, claim.chunk, .failed(contradiction(claim)))
            return true
        }
        context.counters.recheckedChunks.count()
        let plain = unsafe buffers.plain(Int(claim.entry.plainLength))
        guard unsafe disk.read(into: plain, at: claim.entry.containerOffset),
            unsafe buffers.hasher.hash(.chunk, UnsafeRawBufferPointer(plain)) == claim.entry.hash
        else {
            context.counters.rejectedChunks.count()
            container.reject(claim.chunk)
            return false
        }
        container.trust(claim.chunk)
        unsafe scheduler.finish(container, claim.chunk, .stored(UnsafeRawBufferPointer(plain)))
        return true
    }

    // MARK: - Ranges

    private func fetch(_ range: FetchRange, _ buffers: FetchBuffers, _ waiting: inout [Waiting]) {
        let raw = unsafe buffers.raw(range.count)
        do throws(CacheError) {
            try unsafe read(range.bytes, into: raw)
        } catch {
            // A pack that was cut short still has its first frames, and one bad sector spares the others.
            let worthRetry = error.code == .damaged || error.code == .inputOutput
            if worthRetry && range.claims.count > 1 {
                for index in range.claims.indices {
                    fetch(FetchPlan.range(range.claims[index...index]), buffers, &waiting)
                }
            } else if worthRetry, unsafe (try? read(range.bytes, into: raw)) != nil {
                unsafe deliver(range, UnsafeRawBufferPointer(raw), buffers, &waiting)
            } else {
                for claim in range.claims {
                    var failure = error
                    failure.chunk = claim.chunk
                    scheduler.finish(container, claim.chunk, .failed(failure))
                }
            }
            return
        }
        unsafe deliver(range, UnsafeRawBufferPointer(raw), buffers, &waiting)
    }

    private func deliver(
        _ range: FetchRange, _ raw: UnsafeRawBufferPointer, _ buffers: FetchBuffers,
        _ waiting: inout [Waiting]
    ) {
        for claim in range.claims {
            let frame = unsafe UnsafeRawBufferPointer(rebasing: raw[range.place(of: claim)])
            guard claim.entry.codec == .zstdPrefix else {
                unsafe deliver(claim, frame, base: nil, buffers)
                continue
            }
            do throws(CacheError) {
                let base = try PrefixBase(of: claim, in: container, scheduler.registry)
                if base.container.isPresent(base.chunk), let plain = unsafe base.read(buffers) {
                    unsafe deliver(claim, frame, base: (base, plain), buffers)
                } else {
                    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: frame.count, alignment: 64)
                    unsafe copy.copyMemory(from: frame)
                    unsafe waiting.append(Waiting(run: self, claim: claim, base: base, frame: copy))
                }
            } catch {
                scheduler.finish(container, claim.chunk, .failed(error))
            }
        }
    }

    /// Fetches the bases of prefix frames, as many at a time as may be in memory should the disk not take them,
    /// and finishes the frames.
    private static func finish(_ waiting: [Waiting], _ scheduler: FetchScheduler, _ buffers: FetchBuffers) {
        var rest = waiting[...]
        while !rest.isEmpty {
            var bytes = 0
            let group = rest.prefix { waiting in
                defer { bytes += Int(waiting.base.entry.plainLength) }
                return bytes == 0 || bytes + Int(waiting.base.entry.plainLength) <= scheduler.rangeLimit * 2
            }
            rest = rest.dropFirst(group.count)
            let parts = group.map { waiting in
                FetchPart(
                    container: waiting.base.container, chunks: waiting.base.chunk..<(waiting.base.chunk + 1),
                    hint: waiting.base.entry)
            }
            let bases = scheduler.fetchBases(parts, group.map(\.base.entry))
            for (slot, item) in group.enumerated() {
                item.run.finish(item, bases.ending(slot), buffers)
                unsafe item.frame.deallocate()
            }
        }
    }

    private func finish(_ waiting: Waiting, _ base: FetchRequest.Ending, _ buffers: FetchBuffers) {
        let plain: UnsafeRawBufferPointer
        func fail(_ cause: CacheError) {
            var error = cause
            error.message += "; it is the base of chunk \(waiting.claim.chunk) of \(container.pack.key)"
            scheduler.finish(container, waiting.claim.chunk, .failed(error))
        }
        switch base {
        case .memory(let bytes): unsafe plain = unsafe bytes
        // The disk may take a chunk and not give it back.
        case .container:
            if let read = unsafe waiting.base.read(buffers) {
                unsafe plain = unsafe read
            } else {
                do throws(CacheError) { unsafe plain = try unsafe fresh(waiting.base, buffers) } catch {
                    return fail(error)
                }
            }
        case .failed(let error): return fail(error)
        }
        unsafe deliver(
            waiting.claim, UnsafeRawBufferPointer(waiting.frame), base: (waiting.base, plain), buffers)
    }

    // MARK: - Frames

    private func deliver(
        _ claim: FetchClaim, _ frame: UnsafeRawBufferPointer, base: (PrefixBase, UnsafeRawBufferPointer)?,
        _ buffers: FetchBuffers
    ) {
        let plain: UnsafeRawBufferPointer
        do throws(CodecError) {
            unsafe plain = try unsafe decode(claim, frame, base: base?.1, buffers)
        } catch {
            context.counters.failedChunks.count()
            do throws(CacheError) {
                unsafe plain = try unsafe decodeAgain(claim, base?.0, buffers)
            } catch {
                scheduler.finish(container, claim.chunk, .failed(error))
                return
            }
        }
        context.counters.verifiedChunks.count()
        if container.disk != nil, isListed(claim) == false {
            scheduler.finish(container, claim.chunk, .failed(contradiction(claim)))
            return
        }
        // Without a footer the bytes are right, their place is not known to be.
        let mayStore = container.disk == nil || container.footerLoader.known != nil
        let isStored = unsafe mayStore && container.store(claim.chunk, at: claim.entry.containerOffset, plain)
        unsafe scheduler.finish(container, claim.chunk, isStored ? .stored(plain) : .memory(plain))
    }

    /// The chunk's plain bytes, verified: in the frame itself when it is not compressed.
    private func decode(
        _ claim: FetchClaim, _ frame: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer?,
        _ buffers: FetchBuffers
    ) throws(CodecError) -> UnsafeRawBufferPointer {
        let entry = claim.entry
        let expected = FrameHeader(
            index: UInt32(claim.chunk), storedLength: entry.storedLength, plainLength: entry.plainLength,
            codec: entry.codec)
        guard unsafe FrameHeader(frame) == expected else {
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
        return unsafe plain
    }

    /// Bytes may be hurt on the way: reads the frame, and its base, anew, and only then calls the pack damaged.
    private func decodeAgain(
        _ claim: FetchClaim, _ base: PrefixBase?, _ buffers: FetchBuffers
    ) throws(CacheError) -> UnsafeRawBufferPointer {
        var basePlain: UnsafeRawBufferPointer?
        if let base {
            // Perhaps the base rotted on this disk.
            base.container.distrust(base.chunk)
            unsafe basePlain = unsafe try fresh(base, buffers)
        }
        let frame = unsafe buffers.retry(claim.entry.frameLength)
        try unsafe read(claim.entry.frame, into: frame)
        do throws(CodecError) {
            return try unsafe decode(claim, UnsafeRawBufferPointer(frame), base: basePlain, buffers)
        } catch {
            context.counters.failedChunks.count()
            throw damaged(claim.chunk, error)
        }
    }

    /// A base's plain bytes straight from its store, verified.
    private func fresh(_ base: PrefixBase, _ buffers: FetchBuffers) throws(CacheError)
        -> UnsafeRawBufferPointer
    {
        let run = FetchRun(scheduler, base.container)
        let frame = unsafe buffers.retry(base.entry.frameLength)
        try unsafe run.read(base.entry.frame, into: frame)
        do throws(CodecError) {
            let claim = FetchClaim(chunk: base.chunk, entry: base.entry)
            let plain = try unsafe run.decode(claim, UnsafeRawBufferPointer(frame), base: nil, buffers)
            let kept = unsafe buffers.base(plain.count)
            unsafe kept.copyMemory(from: plain)
            return UnsafeRawBufferPointer(kept)
        } catch { throw run.damaged(base.chunk, error) }
    }

    private func read(
        _ bytes: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer
    ) throws(CacheError) {
        guard let origin else {
            throw CacheError(.notFound, "the pack's store is not known", object: container.pack.key.text)
        }
        context.counters.fetchRequests.count()
        do throws(ObjectStoreError) {
            try unsafe origin.read(container.pack.key, from: bytes.lowerBound, into: buffer)
        } catch { throw CacheError(error) }
        context.counters.fetchedBytes.count(buffer.count)
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
