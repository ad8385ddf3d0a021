import Chunking
import DatasetStore
import System

/// A prefix frame that waits for its base, in memory of its own.
@safe struct PrefixFrame {
    private let run: FetchRun
    private let claim: FetchClaim
    private let frame: UnsafeMutableRawBufferPointer

    init(run: FetchRun, claim: FetchClaim, copying frame: UnsafeRawBufferPointer) {
        self.run = run
        self.claim = claim
        unsafe self.frame = .allocate(byteCount: frame.count, alignment: 64)
        unsafe self.frame.copyMemory(from: frame)
    }

    /// Fetches the bases of prefix frames, as many at a time as may be in memory should the disk not take them,
    /// and finishes the frames.
    static func finish(_ waiting: [PrefixFrame], _ scheduler: FetchScheduler, _ buffers: FetchBuffers) {
        var ready: [(frame: PrefixFrame, base: PrefixBase)] = []
        for frame in waiting {
            do throws(CacheError) {
                ready.append(
                    (frame, try PrefixBase(of: frame.claim, in: frame.run.container, scheduler.registry)))
            } catch {
                scheduler.finish(frame.run.container, frame.claim.chunk, .failed(error))
                unsafe frame.frame.deallocate()
            }
        }
        var rest = ready[...]
        while !rest.isEmpty {
            var bytes = 0
            let group = rest.prefix { item in
                defer { bytes += Int(item.base.entry.plainLength) }
                return bytes == 0 || bytes + Int(item.base.entry.plainLength) <= scheduler.baseLimit
            }
            rest = rest.dropFirst(group.count)
            let parts = group.map { item in
                ResolvedPart(
                    container: item.base.container, chunks: item.base.chunk..<(item.base.chunk + 1),
                    entries: [item.base.entry], hasHint: false, use: item.base.use)
            }
            let bases = scheduler.fetchBases(parts)
            for (slot, item) in group.enumerated() {
                item.frame.finish(item.base, bases.ending(slot), buffers)
                unsafe item.frame.frame.deallocate()
            }
        }
    }

    private func finish(_ base: PrefixBase, _ ending: FetchRequest.Ending, _ buffers: FetchBuffers) {
        let plain: UnsafeRawBufferPointer
        func fail(_ cause: CacheError) {
            var error = cause
            error.message += "; it is the base of chunk \(claim.chunk) of \(run.container.pack.key)"
            run.scheduler.finish(run.container, claim.chunk, .failed(error))
        }
        switch ending {
        case .memory(let bytes): unsafe plain = unsafe bytes
        // The disk may take a chunk and not give it back.
        case .container:
            if let read = unsafe base.read(buffers) {
                unsafe plain = unsafe read
            } else {
                do throws(CacheError) { unsafe plain = try unsafe run.fresh(base, buffers) } catch {
                    return fail(error)
                }
            }
        case .failed(let error): return fail(error)
        }
        do throws(CodecError) {
            let decoded = try unsafe run.decode(claim, UnsafeRawBufferPointer(frame), base: plain, buffers)
            run.context.counters.verifiedChunks.count()
            guard run.container.disk == nil || run.isListed(claim) == true else {
                return run.scheduler.finish(
                    run.container, claim.chunk, .failed(run.contradiction(claim)))
            }
            unsafe run.keep(claim, decoded.plain, decoded.hash)
        } catch {
            run.context.counters.failedChunks.count()
            run.again(FailedFrame(claim: claim, base: base), buffers)
        }
    }
}
