import DatasetStore
import Synchronization
import System
import Telemetry

/// Decides which thread fetches what: a thin shell around FetchTable, FetchQueue and Readahead, with threads.
///
/// Its lock is taken on misses, and on hits while a container is read ahead of; never held across I/O.
///
/// Nobody waits for ever: a chunk is in flight only once a thread works on it that has its bytes of the budget, and such
/// a thread waits for nothing but the store, and for bases, which need no bases themselves and which every thread fetches
/// before it waits.
final class FetchScheduler: Sendable {
    let context: CacheContext
    let registry: ContainerRegistry
    let pool = FetchBufferPool()
    let blocks = BlockPool()
    let recent: RecentChunks
    let state: Monitor<FetchState>
    private let isClosing = Atomic(false)

    struct Waiter {
        var request: FetchRequest
        var slot: Int
    }

    /// What a thread can do.
    enum Work {
        /// Parts of which something has to be asked of the store first.
        case call(FetchCall)
        case request(FetchRequest)
        case speculation(Speculation)
        case ahead(Container, Range<Int>, isFilling: Bool)
        case footer(Container)
    }
    typealias Queue = FetchQueue<Work, ObjectIdentifier>

    struct FetchCall {
        var parts: [FetchPart]
        var use: FetchRequest.Use
        var completion: @Sendable (Result<FetchedParts, CacheError>) -> Void
        let span = Trace.current
    }

    private enum Admission {
        case closed
        case nothing
        case queued
        case inline([FetchJob], Queue.Entry)
    }

    /// Idle threads end after this many nanoseconds.
    private static let idleTime: UInt64 = 3_000_000_000
    /// The largest request that its caller's thread runs itself, in stored bytes.
    private static let inlineBytes = 1 << 20

    init(_ context: CacheContext, _ registry: ContainerRegistry) {
        self.context = context
        self.registry = registry
        recent = RecentChunks(limit: context.options.recentBytes, clock: context.clock)
        let threads = max(1, context.options.fetchThreads)
        // Threads that nothing read ahead may have, so that readers find one.
        let limits = Queue.Limits(ahead: max(1, threads / 4 * 3), perKey: max(1, threads / 2))
        state = Monitor(
            FetchState(
                queue: FetchQueue(
                    budget: ByteBudget(limit: context.options.maximumInFlightBytes), limits: limits)))
    }

    /// Largest ranged read.
    var rangeLimit: Int { max(4096, context.options.maximumRangeBytes) }

    /// Plain bytes of bases that one job may need at a time.
    var baseLimit: Int { 8 << 20 }

    // MARK: - What is asked

    func submit(
        _ parts: [FetchPart], for use: FetchRequest.Use = .answer, isOneOfMany: Bool = false,
        _ completion: @escaping @Sendable (Result<FetchedParts, CacheError>) -> Void
    ) {
        var resolved: [ResolvedPart] = []
        do throws(CacheError) {
            for part in parts {
                guard let known = try part.resolveLocally() else { break }
                resolved.append(known)
            }
        } catch { return completion(.failure(error)) }
        guard resolved.count == parts.count else {
            let call = FetchCall(parts: parts, use: use, completion: completion)
            return add(.call(call), parts.first?.container, charge: FetchCharge.unresolved(parts))
        }
        submit(FetchRequest(resolved, for: use, completion: completion), isOneOfMany: isOneOfMany)
    }

    private func submit(_ request: FetchRequest, isOneOfMany: Bool = false) {
        guard let container = request.parts.first?.container else { return request.arm() }
        recheck(request)
        if request.holdsAnswers { request.openSealed() }
        let entry = Queue.Entry(
            item: .request(request), key: ObjectIdentifier(container), charge: FetchCharge.of(request),
            kind: .reader)
        var orders: [Order] = []
        // Who fills has many requests, and the fetch threads are for running them side by side.
        let isLone =
            request.holdsAnswers && !isOneOfMany && request.parts.count == 1
            && request.entries.reduce(0) { $0 + $1.frameLength } <= Self.inlineBytes
        let admission = state.withLock { state -> Admission in
            if state.isClosed { return .closed }
            orders = state.note(request)
            if state.settleWithoutWork(request, recent) { return .nothing }
            if isLone, state.inline < context.options.inlineFetches, state.queue.startNow(entry) {
                state.inline += 1
                return .inline(state.claim(request, recent), entry)
            }
            state.queue.add(entry)
            return .queued
        }
        read(ahead: orders)
        switch admission {
        case .closed: fail(request, CacheError(.closed, "the cache was closed"))
        case .nothing: request.arm()
        case .queued: summon()
        case .inline(let jobs, let entry):
            request.arm()
            FetchRun.run(jobs, self)
            state.withLock { state in
                state.inline -= 1
                state.queue.finished(entry)
            }
            state.wake()
            summon()
        }
    }

    /// Hashes chunks that are on disk and not trusted on the caller's thread: all fetch threads may be waiting for a store
    /// that is away, which these need not. One that is bad is fetched at once, since others may wait for it by now.
    private func recheck(_ request: FetchRequest) {
        func isUntrusted(_ part: ResolvedPart) -> Bool {
            // Without its footer nothing says what a chunk has to hash to.
            part.container.footerLoader.known != nil
                && part.chunks.contains(where: part.container.isUntrusted)
        }
        guard request.parts.contains(where: isUntrusted) else { return }
        let jobs = state.withLock { state -> [FetchJob] in
            if state.isClosed { return [] }
            let jobs = state.claimUntrusted(request)
            if !jobs.isEmpty { state.inline += 1 }
            return jobs
        }
        if jobs.isEmpty { return }
        FetchRun.run(jobs, self, fillsGaps: false)
        state.withLock { $0.inline -= 1 }
        state.wake()
    }

    private func add(_ work: Work, _ container: Container?, charge: Int) {
        guard let container else { return }
        let isClosed = state.withLock { state in
            if state.isClosed { return true }
            state.queue.add(
                .init(item: work, key: ObjectIdentifier(container), charge: charge, kind: .reader))
            return false
        }
        if isClosed {
            if case .call(let call) = work {
                call.completion(.failure(CacheError(.closed, "the cache was closed")))
            }
            return
        }
        summon()
    }

    private func fail(_ request: FetchRequest, _ error: CacheError) {
        for slot in request.entries.indices {
            request.expect()
            request.settle(slot, .failed(error))
        }
        request.arm()
    }

    // MARK: - For the jobs

    /// Fetches bases of prefix frames on this thread, which holds a job already. Blocks until they are there.
    ///
    /// Cannot deadlock: it waits for plain frames only, and every thread is done with all plain frames that it
    /// undertook before it comes here.
    func fetchBases(_ parts: [ResolvedPart]) -> FetchRequest {
        let isDone = Monitor(false)
        let request = FetchRequest(parts, for: .later) { _ in
            isDone.withLock { $0 = true }
            isDone.wake()
        }
        let jobs = state.withLock { $0.claim(request, recent) }
        request.arm()
        // Bases lie here and there in packs that the reader may want nothing else of.
        FetchRun.run(jobs, self, fillsGaps: false)
        SlowWait.during { isDone.wait { $0 ? () : nil } }
        return request
    }

    /// A chunk's fetch is over: tells everybody who waits for it.
    func finish(_ container: Container, _ chunk: Int, _ outcome: FetchRequest.Outcome) {
        let key = FetchTable<Waiter>.Key(container: ObjectIdentifier(container), chunk: chunk)
        // Nobody reads a sealed container's file by itself.
        let outcome = container.isSealed ? outcome.inMemory : outcome
        for waiter in state.withLock({ $0.table.finish(key) }) {
            if case .held(let held) = outcome {
                recent.didRead(waiter.request.wanted(waiter.slot), of: held.block)
            }
            waiter.request.settle(waiter.slot, outcome)
        }
    }

    /// Gives everybody who waits for a chunk its bytes, while its fetch goes on.
    func answer(_ container: Container, _ chunk: Int, _ plain: UnsafeRawBufferPointer) {
        let key = FetchTable<Waiter>.Key(container: ObjectIdentifier(container), chunk: chunk)
        for waiter in state.withLock({ $0.table.takeWaiters(key) }) {
            unsafe waiter.request.settle(waiter.slot, .memory(plain))
        }
    }

    /// Whether somebody waits for a fetch now.
    var isBusy: Bool { state.withLock { $0.inline > 0 || $0.queue.isRunning || $0.queue.waiting > 0 } }

    /// Asked for every piece of a stream.
    var isStopping: Bool { isClosing.load(ordering: .relaxed) }

    // MARK: - Threads

    /// Sees to it that threads take what may run: wakes idle ones, and starts new ones up to the limit.
    /// `besides` counts the callers that will look for themselves.
    func summon(besides: Int = 0) {
        let limit = max(1, context.options.fetchThreads)
        let (woken, started) = state.withLock { state -> ([Parker], Int) in
            let ready = state.queue.ready - besides
            guard ready > 0 else { return ([], 0) }
            let woken = (0..<min(ready, state.idle.count)).compactMap { _ in state.idle.popLast() }
            let started = max(0, min(ready - woken.count, limit - state.threads))
            state.threads += started
            return (woken, started)
        }
        for parker in woken { parker.unpark() }
        for _ in 0..<started { start() }
    }

    private func start() {
        do throws(Errno) {
            // libcrypto and zstd are content with the default stack; a completion is the caller's code.
            try Thread(name: "kaml-fetch") { [self] in work() }.detach()
        } catch {
            context.notice(
                once: "threads", "no thread for fetching: \(error). Reads that miss take longer")
            let isLast = state.withLock { state in
                state.threads -= 1
                return state.threads == 0
            }
            state.wake()
            // Nobody else would do it.
            if isLast { while let entry = state.withLock({ $0.queue.next() }) { perform(entry) } }
        }
    }

    private enum Step {
        case run(Queue.Entry)
        case idle
        case end
    }

    private func work() {
        let parker = Parker()
        while true {
            let step = state.withLock { state -> Step in
                if let entry = state.queue.next() { return .run(entry) }
                if state.isClosed, state.queue.waiting == 0 {
                    state.threads -= 1
                    return .end
                }
                state.idle.append(parker)
                return .idle
            }
            switch step {
            case .run(let entry): perform(entry)
            case .idle:
                if parker.park(nanoseconds: Self.idleTime) { continue }
                let leaves = state.withLock { state in
                    guard let index = state.idle.firstIndex(where: { $0 === parker }) else { return false }
                    state.idle.remove(at: index)
                    state.threads -= 1
                    pool.trim(to: state.threads + context.options.inlineFetches)
                    return true
                }
                if leaves {
                    recent.trim()
                    blocks.trim()
                    return state.wake()
                }
            case .end: return state.wake()
            }
        }
    }

    private func perform(_ entry: Queue.Entry) {
        switch entry.item {
        case .call(let call): Trace.with(call.span) { run(call) }
        case .request(let request): Trace.with(request.span) { run(request, nil) }
        case .speculation(let speculation): speculation.run()
        case .ahead(let container, let chunks, let isFilling): runAhead(container, chunks, isFilling)
        case .footer(let container): readFooter(container)
        }
        let wakes = state.withLock { state in
            state.queue.finished(entry)
            return state.isClosed
        }
        if wakes { state.wake() }
        // More than one may have become possible.
        summon(besides: 1)
    }

    private func run(_ request: FetchRequest, _ speculation: Speculation?) {
        var jobs = state.withLock { $0.claim(request, recent) }
        if let speculation {
            for index in jobs.indices where jobs[index].container === speculation.container {
                jobs[index].speculation = speculation
            }
        }
        request.arm()
        FetchRun.run(jobs, self)
    }

    private func run(_ call: FetchCall) {
        var resolved: [ResolvedPart] = []
        var speculation: Speculation?
        do throws(CacheError) {
            for part in call.parts {
                if speculation == nil, part.container.localFooter() == nil {
                    speculation = try prepare(part)
                }
                resolved.append(try part.resolve())
            }
        } catch {
            _ = speculation?.take()
            return call.completion(.failure(error))
        }
        let request = FetchRequest(resolved, for: call.use, completion: call.completion)
        read(ahead: state.withLock { $0.note(request) })
        run(request, speculation)
        _ = speculation?.take()
    }

    /// Gets more than the footer of a pack that is not known yet with the request for it, or beside it.
    private func prepare(_ part: FetchPart) throws(CacheError) -> Speculation? {
        let container = part.container
        if container.isSmall {
            if let whole = try container.footerOrWhole().whole {
                pool.with { buffers in
                    var waiting: [PrefixFrame] = []
                    FetchRun(self, container).take(whole, [], buffers, &waiting)
                    PrefixFrame.finish(waiting, self, buffers)
                }
            }
            return nil
        }
        guard case .bytes(let bytes) = part.wanted,
            let speculation = Speculation(container, bytes: bytes)
        else { return nil }
        add(.speculation(speculation), container, charge: speculation.range.count)
        return speculation
    }

    // MARK: - The end

    /// Lets running and queued jobs end and the threads with them. Must not be called from a completion.
    func close() {
        stop()
        state.wait { $0.inline == 0 && $0.threads == 0 ? () : nil }
    }

    /// Takes no further fetches; does not wait.
    func stop() {
        isClosing.store(true, ordering: .relaxed)
        let idle = state.withLock { state in
            state.isClosed = true
            state.queue.dropAhead()
            defer { state.idle = [] }
            return state.idle
        }
        for parker in idle { parker.unpark() }
        state.wake()
    }

    /// Waits until nothing runs and nothing waits: for tests.
    func waitUntilIdle() {
        while state.withLock({ $0.queue.waiting > 0 || $0.queue.isRunning }) {
            Parker().park(nanoseconds: 500_000)
        }
    }

    /// The most that all fetches together held in memory, as it was counted before and as it was in buffers.
    var peaks: (budget: Int, buffers: Int) { (state.withLock { $0.queue.budget.peak }, pool.meter.peak) }
}
