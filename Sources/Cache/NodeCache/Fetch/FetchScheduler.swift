import DatasetStore
import System

/// Chunks of one container that a thread has undertaken to make present.
struct FetchJob {
    var container: Container
    var claims: [FetchClaim]
    /// Stored bytes to read ahead, and the chunk that follows the claims.
    var ahead: Int
    var end: Int
}

/// Decides which thread fetches what: a thin shell around FetchTable, with threads and a queue.
///
/// Its lock is taken on misses only and never held across I/O.
final class FetchScheduler: Sendable {
    let context: CacheContext
    let registry: ContainerRegistry
    let pool = FetchBufferPool()
    private let state: Monitor<State>

    struct Waiter {
        var request: FetchRequest
        var slot: Int
    }

    fileprivate struct State: ~Copyable {
        var table = FetchTable<Waiter>()
        var streams: [ObjectIdentifier: ReadaheadStreams] = [:]
        /// Requests and not claims: a chunk is in flight only once a thread works on it, so that nobody ever
        /// waits for a chunk whose leader waits for a thread.
        var queue: [FetchRequest] = []
        /// Calls that run their jobs themselves now.
        var inline = 0
        var threads = 0
        var isClosed = false
    }

    private enum Admission {
        case closed
        case nothing
        case queued
        case inline([FetchJob])
    }

    /// Starts the fetch threads. With none to be had, everything runs on the callers' threads.
    init(_ context: CacheContext, _ registry: ContainerRegistry) {
        self.context = context
        self.registry = registry
        state = Monitor(State())
        for index in 0..<max(1, context.options.fetchThreads) {
            state.withLock { $0.threads += 1 }
            do throws(Errno) {
                let thread = try Thread(name: "kaml-fetch-\(index)") { [self] in
                    // libcrypto and zstd are content with the default stack; a completion is the caller's code.
                    work()
                }
                thread.detach()
            } catch {
                state.withLock { $0.threads -= 1 }
                context.notice(
                    once: "threads", "no thread for fetching: \(error). Reads that miss take longer")
            }
        }
    }

    /// Largest ranged read: every job that can run at once must find room for its range, and for the one of
    /// its bases, in the bytes that may be in flight.
    var rangeLimit: Int {
        let jobs = max(1, context.options.fetchThreads) + context.options.inlineFetches
        return max(
            1 << 20, min(context.options.maximumRangeBytes, context.options.maximumInFlightBytes / (2 * jobs))
        )
    }

    func submit(_ request: FetchRequest) {
        let admission = state.withLock { state -> Admission in
            if state.isClosed { return .closed }
            let hasWork = state.hasWork(request)
            if !hasWork || state.inline < context.options.inlineFetches || state.threads == 0 {
                let jobs = state.claim(request, readahead: rangeLimit)
                if jobs.isEmpty { return .nothing }
                state.inline += 1
                return .inline(jobs)
            }
            state.queue.append(request)
            return .queued
        }
        switch admission {
        case .closed:
            for slot in request.entries.indices {
                request.expect()
                request.settle(slot, .failed(CacheError(.closed, "the cache was closed")))
            }
            request.arm()
        case .nothing: request.arm()
        case .queued: state.wake()
        case .inline(let jobs):
            request.arm()
            FetchRun.run(jobs, self)
            if state.withLock({ state in
                state.inline -= 1
                return state.isClosed
            }) {
                state.wake()
            }
        }
    }

    /// Fetches bases of prefix frames on this thread, which holds a job already. Blocks until they are there.
    ///
    /// Cannot deadlock: it waits for plain frames only, and every thread is done with all plain frames that it
    /// undertook before it comes here.
    func fetchBases(_ parts: [FetchPart], _ entries: [ChunkEntry]) -> FetchRequest {
        let isDone = Monitor(false)
        let request = FetchRequest(parts, entries: entries, keepsMemory: true) { _ in
            isDone.withLock { $0 = true }
            isDone.wake()
        }
        let jobs = state.withLock { $0.claim(request, readahead: 0) }
        request.arm()
        FetchRun.run(jobs, self)
        isDone.wait { $0 ? () : nil }
        return request
    }

    /// A chunk's fetch is over: tells everybody who waits for it.
    func finish(_ container: Container, _ chunk: Int, _ outcome: FetchRequest.Outcome) {
        let key = FetchTable<Waiter>.Key(container: ObjectIdentifier(container), chunk: chunk)
        for waiter in state.withLock({ $0.table.finish(key) }) { waiter.request.settle(waiter.slot, outcome) }
    }

    /// Adds to a job the missing chunks that lie between its own and those it should read ahead.
    func extend(_ job: FetchJob, _ footer: PackFooter) -> [FetchClaim] {
        state.withLock { $0.extend(job, footer, gap: context.options.gapTolerance, limit: rangeLimit) }
    }

    /// Lets running and queued jobs end and the threads with them. Must not be called from a completion.
    func close() {
        stop()
        state.wait { $0.inline == 0 && $0.threads == 0 ? () : nil }
    }

    /// Takes no further fetches; does not wait.
    func stop() {
        state.withLock { $0.isClosed = true }
        state.wake()
    }

    private func work() {
        while true {
            let work = state.wait { state -> (FetchRequest, [FetchJob])?? in
                if !state.queue.isEmpty {
                    let request = state.queue.removeFirst()
                    return .some((request, state.claim(request, readahead: rangeLimit)))
                }
                if state.isClosed {
                    state.threads -= 1
                    return .some(nil)
                }
                return nil
            }
            guard let (request, jobs) = work else { break }
            request.arm()
            FetchRun.run(jobs, self)
        }
        state.wake()
    }
}

extension FetchScheduler.State {
    /// Whether a request needs a chunk that nobody fetches yet.
    fileprivate func hasWork(_ request: FetchRequest) -> Bool {
        request.parts.contains { part in
            let id = ObjectIdentifier(part.container)
            return part.chunks.contains { chunk in
                !part.container.isPresent(chunk) && !table.isInFlight(.init(container: id, chunk: chunk))
            }
        }
    }

    /// Enters a request's missing chunks; returns jobs for those that nobody fetches yet.
    fileprivate mutating func claim(_ request: FetchRequest, readahead limit: Int) -> [FetchJob] {
        var jobs: [FetchJob] = []
        var slot = 0
        for part in request.parts {
            let id = ObjectIdentifier(part.container)
            var claims: [FetchClaim] = []
            for chunk in part.chunks {
                // Looked at under the lock: a leader sets the bit before it leaves the table. A hint that the footer
                // does not confirm goes on to the job, which fails it.
                if part.container.isPresent(chunk),
                    part.hint == nil || part.container.lists(chunk, request.entries[slot])
                {
                    request.settleReady(slot)
                } else {
                    request.expect()
                    let waiter = FetchScheduler.Waiter(request: request, slot: slot)
                    if table.request(.init(container: id, chunk: chunk), waiter) == .start {
                        claims.append(FetchClaim(chunk: chunk, entry: request.entries[slot]))
                    }
                }
                slot += 1
            }
            guard let first = claims.first, let last = claims.last else { continue }
            let end = last.chunk + 1
            let bytes = claims.reduce(0) { $0 + $1.entry.frameLength }
            let ahead =
                limit == 0 || !part.container.hasDisk
                ? 0
                : streams[id, default: ReadaheadStreams()].miss(
                    first.chunk..<end, bytes: bytes, limit: limit - bytes)
            if let index = jobs.firstIndex(where: { $0.container === part.container }) {
                jobs[index].claims.append(contentsOf: claims)
                jobs[index].ahead = max(jobs[index].ahead, ahead)
                jobs[index].end = max(jobs[index].end, end)
            } else {
                jobs.append(FetchJob(container: part.container, claims: claims, ahead: ahead, end: end))
            }
        }
        return jobs
    }

    fileprivate mutating func extend(
        _ job: FetchJob, _ footer: PackFooter, gap: Int, limit: Int
    ) -> [FetchClaim] {
        let id = ObjectIdentifier(job.container)
        var claims = job.claims.sorted { $0.chunk < $1.chunk }
        func isMissing(_ chunk: Int) -> Bool { !job.container.bitmap.isPresent(chunk) }
        // Bytes between two claims come with the range anyway when they are few.
        for (left, right) in zip(claims, claims.dropFirst()) where right.chunk > left.chunk + 1 {
            guard right.entry.frameOffset >= left.entry.frame.upperBound,
                right.entry.frameOffset - left.entry.frame.upperBound <= UInt64(gap)
            else { continue }
            for chunk in (left.chunk + 1)..<right.chunk
            where isMissing(chunk) && table.requestAhead(.init(container: id, chunk: chunk)) {
                claims.append(FetchClaim(chunk: chunk, entry: footer[chunk]))
            }
        }
        var ahead = job.ahead
        var skipped = 0
        var chunk = job.end
        var end = job.end
        while chunk < footer.chunkCount, ahead > 0, skipped <= gap {
            let entry = footer[chunk]
            if isMissing(chunk), !table.isInFlight(.init(container: id, chunk: chunk)) {
                if entry.frameLength > ahead { break }
                _ = table.requestAhead(.init(container: id, chunk: chunk))
                claims.append(FetchClaim(chunk: chunk, entry: entry))
                ahead -= entry.frameLength
                skipped = 0
                end = chunk + 1
            } else {
                skipped += entry.frameLength
            }
            chunk += 1
        }
        streams[id]?.extended(from: job.end, to: end)
        return claims.sorted { $0.chunk < $1.chunk }
    }
}
