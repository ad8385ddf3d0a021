import Chunking
import DatasetStore
import ObjectStore
import System
import Telemetry

/// Chunks of one container that a thread has undertaken to make present.
struct FetchJob {
    let container: Container
    var claims: [FetchClaim]
    /// Nobody waits for them: they may be given up when the cache closes.
    var isAhead = false
    /// Whether readers want them in no order, some time: the page cache is where they wait.
    var isFilling = false
    /// Bytes that were read on a guess of where they lie.
    var speculation: Speculation?
    /// Nothing of the container is taken away while the job writes.
    private let use: ContainerUse

    init(container: Container, claims: [FetchClaim], isAhead: Bool = false, isFilling: Bool = false) {
        self.container = container
        self.claims = claims
        self.isAhead = isAhead
        self.isFilling = isFilling
        use = ContainerUse(container)
    }
}

/// One job on its thread: reads ranges of a pack, checks every frame as it comes, fills the container, answers.
struct FetchRun {
    let scheduler: FetchScheduler
    let container: Container
    let isAhead: Bool
    private let isFilling: Bool
    private let origin: (any ObjectStore)?

    init(
        _ scheduler: FetchScheduler, _ container: Container, isAhead: Bool = false, isFilling: Bool = false
    ) {
        self.scheduler = scheduler
        self.container = container
        self.isAhead = isAhead
        self.isFilling = isFilling
        origin = container.origin
    }

    var context: CacheContext { scheduler.context }

    /// Whether the container's disk is to be written past the page cache, as far as memory holds what is written.
    var mayWriteDirectly: Bool {
        let now = context.clock.monotonicNanoseconds()
        return context.options.writesDirectly && !isFilling
            && context.directPace.withLock { $0.allows(now: now) }
    }

    /// Runs the jobs that one thread has undertaken: first every plain frame of all of them, since others may wait
    /// for those, then the frames that have to wait for bases themselves.
    /// `fillsGaps` lets small chunks that lie between those of a job come along.
    static func run(_ jobs: [FetchJob], _ scheduler: FetchScheduler, fillsGaps: Bool = true) {
        if jobs.isEmpty { return }
        scheduler.pool.with { buffers in
            var waiting: [PrefixFrame] = []
            for job in jobs {
                FetchRun(scheduler, job.container, isAhead: job.isAhead, isFilling: job.isFilling)
                    .run(job, fillsGaps, buffers, &waiting)
            }
            PrefixFrame.finish(waiting, scheduler, buffers)
        }
        withExtendedLifetime(jobs) {}
    }

    private func run(
        _ job: FetchJob, _ fillsGaps: Bool, _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame]
    ) {
        var claims = job.claims.sorted { $0.chunk < $1.chunk }
        if fillsGaps, claims.count > 1, container.hasDisk, let footer = container.footerLoader.known {
            claims = scheduler.fillGaps(of: claims, container, footer)
        }
        var missing = claims.filter { !settleFromDisk($0, buffers) }
        if !missing.isEmpty, container.isSmall, container.localFooter() == nil {
            do throws(CacheError) {
                if try takeWhole(missing, buffers, &waiting) { return }
            } catch  where error.code == .damaged {
                // The frames may be good.
            } catch { return fail(missing, error) }
        }
        if let speculation = job.speculation, let known = speculation.take() {
            missing = takeSpeculated(known, speculation.range, missing, buffers, &waiting)
        }
        for range in FetchPlan.ranges(missing, limit: scheduler.rangeLimit, gap: context.options.gapTolerance)
        {
            fetch(range, buffers, &waiting)
        }
    }

    // MARK: - Bytes that came by another way

    /// Reads a small pack as one with its footer. False when that gave the footer alone.
    private func takeWhole(
        _ own: [FetchClaim], _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame]
    ) throws(CacheError) -> Bool {
        try FetchTrace.fetch(container, chunks: own.count) { () throws(CacheError) in
            guard let whole = try container.footerOrWhole().whole else { return false }
            take(whole, own, buffers, &waiting)
            return true
        }
    }

    /// Everything that a small pack holds, read as one with its footer, which is known by now.
    func take(
        _ whole: FetchedBytes, _ own: [FetchClaim], _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame]
    ) {
        let others = scheduler.claimAhead(container, 0..<Int(container.pack.chunkCount), limit: .max)
        var listed: [FetchClaim] = []
        for claim in (own + others).sorted(by: { $0.chunk < $1.chunk }) {
            if isListed(claim) == true {
                listed.append(claim)
            } else {
                scheduler.finish(container, claim.chunk, .failed(contradiction(claim)))
            }
        }
        cut(whole, from: 0, listed, buffers, &waiting)
    }

    /// Uses what of the claims lies in `range`; returns the others.
    private func takeSpeculated(
        _ bytes: FetchedBytes, _ range: Range<UInt64>, _ claims: [FetchClaim], _ buffers: FetchBuffers,
        _ waiting: inout [PrefixFrame]
    ) -> [FetchClaim] {
        func lies(_ claim: FetchClaim) -> Bool {
            claim.entry.frame.lowerBound >= range.lowerBound
                && claim.entry.frame.upperBound <= range.upperBound
        }
        cut(bytes, from: range.lowerBound, claims.filter(lies), buffers, &waiting)
        return claims.filter { !lies($0) }
    }

    private func cut(
        _ bytes: FetchedBytes, from start: UInt64, _ claims: [FetchClaim], _ buffers: FetchBuffers,
        _ waiting: inout [PrefixFrame]
    ) {
        let receiver = FrameReceiver(self, claims[...], buffers)
        var cutter = FrameCutter(frames: claims.map(\.place), from: start)
        FetchTrace.verifying(context.clock) { unsafe cutter.cut(bytes.bytes) { receiver.take($0) } }
        settleRest(receiver, buffers, &waiting)
    }

    // MARK: - Ranges

    private func fetch(
        _ range: FetchRange, _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame], mayRetry: Bool = true
    ) {
        let start = context.clock.monotonicNanoseconds()
        let span = FetchTrace.fetch(container, chunks: range.claims.count) {
            fetchTraced(range, buffers, &waiting, mayRetry: mayRetry)
            return Trace.current
        }
        FetchMetrics.process.durations.record(context.clock.monotonicNanoseconds() &- start, .store, span)
    }

    private func fetchTraced(
        _ range: FetchRange, _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame], mayRetry: Bool
    ) {
        let receiver = FrameReceiver(self, range.claims, buffers)
        var finished = 0
        var failure: CacheError?
        do throws(CacheError) { try stream(range, into: receiver, &finished) } catch { failure = error }
        settleRest(receiver, buffers, &waiting)
        guard let failure else { return }
        let rest = range.claims.dropFirst(finished)
        // A pack that was cut short still has its first frames, and one bad sector spares the others.
        let isLocal = failure.code == .damaged || failure.code == .inputOutput
        if rest.count > 1 && isLocal && finished == 0 {
            for index in rest.indices { fetch(FetchPlan.range(rest[index...index]), buffers, &waiting) }
        } else if !rest.isEmpty && mayRetry && (isLocal || finished > 0) && failure.code != .closed {
            fetch(FetchPlan.range(rest), buffers, &waiting, mayRetry: isLocal && finished > 0)
        } else {
            fail(rest, failure)
        }
    }

    private func fail(_ claims: some Sequence<FetchClaim>, _ error: CacheError) {
        for claim in claims {
            var failure = error
            failure.chunk = claim.chunk
            scheduler.finish(container, claim.chunk, .failed(failure))
        }
    }

    /// Streams a range through the receiver. `finished` tells how many of its frames came whole.
    private func stream(
        _ range: FetchRange, into receiver: FrameReceiver, _ finished: inout Int
    ) throws(CacheError) {
        var cutter = FrameCutter(frames: range.claims.map(\.place), from: range.bytes.lowerBound)
        var received = 0
        context.counters.fetchRequests.count()
        FetchMetrics.process.requests.add(1, .store)
        let span = Trace.current
        let start = context.clock.monotonicNanoseconds()
        let outcome = Result { () throws(CacheError) in
            try unsafe read(range.claims.first?.entry.object, range.bytes) { piece in
                if received == 0 {
                    FetchMetrics.process.firstBytes.record(
                        context.clock.monotonicNanoseconds() &- start, .store, span)
                }
                received += piece.count
                FetchTrace.verifying(context.clock) { unsafe cutter.cut(piece) { receiver.take($0) } }
                return !(isAhead && scheduler.isStopping)
            }
        }
        context.counters.fetchedBytes.count(received)
        FetchMetrics.process.bytes.add(UInt64(received), .store)
        finished = cutter.finished
        try outcome.get()
        guard finished == range.claims.count else {
            throw scheduler.isStopping
                ? CacheError(.closed, "the cache was closed")
                : CacheError(
                    .damaged, "the store gave less than it was asked for", object: container.pack.key.text,
                    remedy: "Read again; if it stays so, run `kaml check --read-data`")
        }
    }

    /// Hands over bytes of the pack, or of the object that it refers to.
    private func read(
        _ object: UInt32?, _ range: Range<UInt64>, _ body: (UnsafeRawBufferPointer) -> Bool
    ) throws(CacheError) {
        if let object { return try unsafe readObject(object, range, body) }
        guard let origin else {
            throw CacheError.noStore(container.pack)
        }
        let outcome = Result { () throws(ObjectStoreError) in
            try SlowWait.during { () throws(ObjectStoreError) in
                try unsafe origin.read(container.pack.key, range) { piece in unsafe body(piece) }
            }
        }
        if case .failure(let error) = outcome { throw CacheError(error) }
    }

    /// Reads from the store again, now that the stream is over: one at a time is held by a thread.
    private func settleRest(
        _ receiver: FrameReceiver, _ buffers: FetchBuffers, _ waiting: inout [PrefixFrame]
    ) {
        receiver.end()
        for frame in receiver.failed { again(frame, buffers) }
        for plain in receiver.unlisted { keepUnlisted(plain) }
        waiting.append(contentsOf: receiver.waiting)
    }

    /// Fills `buffer` from a claim's bytes: its frame, or its part of the object.
    func read(_ claim: FetchClaim, into buffer: UnsafeMutableRawBufferPointer) throws(CacheError) {
        context.counters.fetchRequests.count()
        var filled = 0
        try unsafe read(claim.entry.object, claim.place) { piece in
            let count = min(piece.count, buffer.count - filled)
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<count]))
            filled += count
            return true
        }
        context.counters.fetchedBytes.count(filled)
        guard filled == buffer.count else {
            throw CacheError(
                .damaged, "the store gave less than it was asked for", object: container.pack.key.text,
                remedy: "Read again; if it stays so, run `kaml check --read-data`")
        }
    }
}
