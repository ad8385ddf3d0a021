import CKamlFeed
import Synchronization
import System
import Telemetry

/// A stream's thread: takes what the pod gives back, begins batches while there is credit for them, gives them out in the
/// order of their positions, and sleeps.
///
/// The rings, the slots and everything else about batches belong to that thread; others tell it what to do by `seek`
/// and `end`.
@safe final class FeedStream: @unchecked Sendable {
    // Sendable: what is not atomic or a monitor is used by the stream's thread alone once it has started.

    /// What the stream says to those who keep the session.
    protocol Owner: AnyObject, Sendable {
        func send(_ bytes: [UInt8], descriptors: [Int32]) throws(Errno)
        func streamMisused(_ misuse: FeedMisuse)
    }

    private struct Orders {
        var seek: (position: UInt64, generation: UInt16)?
        var isEnding = false
    }

    /// A batch that the pod has.
    private struct GivenOut {
        var slot: SlotPool.Slot
        var lent: [LentContainers.Index]
        var charge: Int
        var span: TraceSpan?
    }

    let completions: CompletionRing
    let submissions: SubmissionRing
    /// Signalled by the pod. Never read nor written here: it could make both block.
    let podEvent: Event

    private let waker: StreamWaker
    private let poller: Poller
    private let plan: StreamPlan
    private let maker: BatchMaker
    private let pool: SlotPool
    private let lending: LentContainers?
    private let metrics: FeedMetrics
    private weak let owner: (any Owner)?
    /// What the spans of batches belong to.
    private let parent: SpanContext?

    private let orders = Monitor(Orders())
    private let isOver = Monitor(false)

    private var credits: Credits
    private let outbox: OutboxBox
    private var next: UInt64 = 0
    private var generation: UInt16 = 0
    /// Nothing more is given out until a seek.
    private var isHalted = false
    /// The next batch, looked up but without a slot.
    private var looked: BatchMaker.Layout?
    private var making: [PendingBatch] = []
    /// Whose positions nobody wants any more, but whose reads are under way.
    private var abandoned: [PendingBatch] = []
    private var spare: [PendingBatch] = []
    private var givenOut: [UInt64: GivenOut] = [:]
    /// Sequences of the newest descriptors that were no batches: they may be given back, and need not.
    private var markers: [UInt64] = []
    /// Why the batch at `next` cannot be made.
    private var problem: FeedFailure?
    /// To be given out as soon as there is a slot for it.
    private var pendingMarker: kaml_descriptor?
    private var stall: (cause: FeedCauseLabel, since: UInt64)?
    /// What the metrics know of.
    private var lentBytes = 0
    private let clock = HostClock()

    init(
        plan: StreamPlan, maker: BatchMaker, pool: SlotPool, lending: LentContainers?, outbox: OutboxBox,
        credits: Credits, parent: SpanContext?, metrics: FeedMetrics, owner: any Owner
    ) throws(Errno) {
        self.plan = plan
        self.maker = maker
        self.pool = pool
        self.lending = lending
        self.outbox = outbox
        self.credits = credits
        self.metrics = metrics
        self.owner = owner
        self.parent = parent
        var slots = 64
        while slots < credits.batches * 2 { slots *= 2 }
        completions = try CompletionRing(slots: slots)
        submissions = try SubmissionRing(slots: slots)
        podEvent = try Event()
        waker = try StreamWaker()
        poller = try Poller()
        try poller.add(podEvent.rawValue, [.read, .edge], key: 0)
        try poller.add(waker.event.rawValue, [.read, .edge], key: 1)
    }

    /// After StreamInfo was sent.
    func start() throws(Errno) {
        try Thread(name: "kaml-stream") { [self] in
            run()
            isOver.withLock { $0 = true }
            isOver.wake()
        }
        .detach()
    }

    // MARK: - From other threads

    func seek(to position: UInt64, generation: UInt16) {
        orders.withLock { $0.seek = (position, generation) }
        tell()
    }

    /// The stream gives nothing more out; its memory goes when the last read into it has ended.
    func end() {
        orders.withLock { $0.isEnding = true }
        tell()
    }

    /// Blocks for at most one turn of the thread.
    func waitUntilOver() { isOver.wait { $0 ? () : nil } }

    private func tell() { waker.newsCame() }

    // MARK: - The thread

    private func run() {
        metrics.streamBegan(window: credits.batches)
        defer {
            metrics.streamEnded(window: credits.batches, out: givenOut.count, lentBytes: lentBytes)
            for batch in givenOut.values { batch.span?.end() }
        }
        do {
            while try !takeOrders() {
                try takeSubmissions()
                collectAbandoned()
                try begin()
                noteLentBytes()
                try giveOut()
                try sleepUnlessNeeded()
            }
        } catch let misuse as FeedMisuse {
            owner?.streamMisused(misuse)
        } catch {
            // The connection has ended; whoever keeps it sees that too.
        }
        noteStall(nil)
    }

    /// Whether the stream is to end.
    private func takeOrders() throws -> Bool {
        guard waker.takeNews() else { return false }
        let (seek, isEnding) = orders.withLock { orders in
            defer { orders.seek = nil }
            return (orders.seek, orders.isEnding)
        }
        if isEnding { return true }
        if let seek {
            abandoned += making
            making = []
            looked = nil
            isHalted = false
            (pendingMarker, problem) = (nil, nil)
            next = seek.position
            generation = seek.generation
        }
        return false
    }

    private func takeSubmissions() throws {
        let before = submissions.taken
        try submissions.take { entry throws(FeedMisuse) in
            guard entry.kind == KAML_SUBMISSION_RELEASE.rawValue else {
                throw FeedMisuse("a submission of kind \(entry.kind)")
            }
            guard let batch = givenOut.removeValue(forKey: entry.sequence) else {
                guard let marker = markers.firstIndex(of: entry.sequence) else {
                    throw FeedMisuse("a release of \(entry.sequence), which is not out")
                }
                markers.remove(at: marker)
                return
            }
            letGo(slot: batch.slot, lent: batch.lent, charge: batch.charge)
            metrics.released(
                usedNanoseconds: entry.used_nanoseconds, waitedNanoseconds: entry.waited_nanoseconds)
            if let span = batch.span {
                span.set("kaml.pod.used_ns", entry.used_nanoseconds)
                span.set("kaml.pod.waited_ns", entry.waited_nanoseconds)
                span.end()
            }
        }
        if submissions.taken != before { completions.tellTaken(submissions.taken) }
    }

    private func letGo(slot: SlotPool.Slot, lent: [LentContainers.Index], charge: Int) {
        pool.giveBack(slot)
        for index in lent { lending?.release(index) }
        credits.giveBack(charge)
    }

    private func recycle(_ batch: PendingBatch) {
        if let slot = batch.slot { letGo(slot: slot, lent: batch.lent, charge: batch.charge) }
        reuse(batch)
    }

    private func reuse(_ batch: PendingBatch) {
        batch.slot = nil
        batch.span = nil
        batch.lent.removeAll(keepingCapacity: true)
        spare.append(batch)
    }

    private func collectAbandoned() {
        if abandoned.isEmpty { return }
        abandoned.removeAll { batch in
            guard batch.isDone else { return false }
            recycle(batch)
            return true
        }
    }

    /// Begins batches as long as there is room for them.
    private func begin() throws {
        var cause: FeedCauseLabel?
        while !isHalted, let batch = plan.batch(at: next) {
            // Nobody waits for the memory of those that follow.
            if making.first?.isDone == true { try giveOut() }
            if isHalted { break }
            do throws(FeedFailure) {
                let layout: BatchMaker.Layout
                if let looked { layout = looked } else { layout = try maker.look(batch) }
                looked = layout
                let charge = layout.slotBytes + layout.mappedBytes
                guard credits.allow(charge) else {
                    cause = .credits
                    break
                }
                guard let slot = try slot(layout.slotBytes) else {
                    cause = .memory
                    break
                }
                credits.take(charge)
                looked = nil
                let pending = spare.popLast() ?? PendingBatch(waker)
                pending.position = next
                pending.slot = slot
                pending.charge = charge
                pending.began = clock.monotonicNanoseconds()
                let span = Trace.root("feed.batch", .producer, parent: parent)
                pending.span = span
                Trace.with(span) { maker.make(layout, in: slot, pending) }
                making.append(pending)
                next += 1
            } catch {
                // Told when those before it are given out.
                looked = nil
                isHalted = true
                problem = error
            }
        }
        noteStall(cause)
    }

    /// Nil when the session has to give something back first.
    private func slot(_ bytes: Int) throws(FeedFailure) -> SlotPool.Slot? {
        do throws(SlotPool.Refusal) {
            let (slot, isNew) = try pool.take(bytes)
            if isNew {
                let announcement = SegmentAnnouncement(
                    id: slot.slab.segment, bytes: UInt64(unsafe slot.slab.memory.bytes.count), isCache: false)
                do throws(Errno) {
                    outbox.value.announce(announcement, try slot.slab.memory.descriptor.duplicate())
                } catch {
                    throw SlotPool.Refusal.failed(error)
                }
            }
            return slot
        } catch {
            switch error {
            case .full: return nil
            case .tooLarge:
                throw FeedFailure(
                    .exhausted,
                    "a batch of \(bytes) bytes is larger than what a session may have (\(pool.largest) bytes)",
                    remedy: "Use a smaller batch_size, or raise feed.sessionMemory", isRetryable: false)
            case .failed(let errno):
                throw FeedFailure(
                    .exhausted, "there is no memory for batches (\(errno))",
                    remedy: "Close other feeds of the node, or raise feed.memory")
            }
        }
    }

    /// Gives out what is ready, in the order of positions.
    private func giveOut() throws {
        guard try outbox.value.flush(send) else { return }
        while let first = making.first, first.isDone {
            guard try hasFreeSlot() else { return }
            making.removeFirst()
            if let problem = first.problem {
                let position = first.position
                let failure = maker.failure(problem)
                first.span?.end(failed: failure)
                recycle(first)
                halt(failure, at: position)
                guard try outbox.value.flush(send) else { return }
                break
            }
            publish(first)
        }
        if making.isEmpty, let problem {
            self.problem = nil
            halt(problem, at: next)
            guard try outbox.value.flush(send) else { return }
        }
        // What halted the stream stands in the outbox before this.
        if let marker = pendingMarker, making.isEmpty, try hasFreeSlot() {
            publish(marker)
            pendingMarker = nil
        } else if !isHalted, making.isEmpty, plan.batch(at: next) == nil, try hasFreeSlot() {
            var end = kaml_descriptor()
            end.kind = UInt8(KAML_DESCRIPTOR_END.rawValue)
            end.position = next
            publish(end)
            isHalted = true
        }
    }

    /// The batch at `position` cannot be made: the pod is told, and nothing follows until it seeks.
    private func halt(_ failure: FeedFailure, at position: UInt64) {
        abandoned += making
        making = []
        looked = nil
        problem = nil
        isHalted = true
        outbox.value.add(.trouble(failure, position: position))
        var error = kaml_descriptor()
        error.kind = UInt8(KAML_DESCRIPTOR_ERROR.rawValue)
        error.position = position
        pendingMarker = error
        metrics.failed()
    }

    private func hasFreeSlot() throws -> Bool {
        let taken = try submissions.descriptorsTaken(of: completions.tail)
        return completions.tail - taken < completions.slots
    }

    private func publish(_ batch: PendingBatch) {
        guard let slot = batch.slot else { return }
        var descriptor = batch.descriptor
        descriptor.position = batch.position
        if let span = batch.span { describe(batch, span, &descriptor) }
        givenOut[completions.tail] = GivenOut(
            slot: slot, lent: batch.lent, charge: batch.charge, span: batch.span)
        metrics.gaveOut(
            records: Int(descriptor.records), mapped: batch.mappedBytes, inSlots: batch.copiedBytes,
            copied: batch.copiedBytes, nanoseconds: clock.monotonicNanoseconds() &- batch.began, batch.span)
        send(&descriptor)
        reuse(batch)
    }

    private func describe(_ batch: PendingBatch, _ span: TraceSpan, _ descriptor: inout kaml_descriptor) {
        span.set("kaml.position", batch.position)
        span.set("kaml.records", descriptor.records)
        span.set("kaml.bytes.mapped", batch.mappedBytes)
        span.set("kaml.bytes.copied", batch.copiedBytes)
        span.add(event: "given out")
        guard span.isExported else { return }
        descriptor.flags |= UInt8(KAML_DESCRIPTOR_SAMPLED.rawValue)
        unsafe withUnsafeMutableBytes(of: &descriptor.trace) { target in
            unsafe target.copyBytes(from: span.context.traceID.bytes)
        }
    }

    private func noteLentBytes() {
        let now = Int(clamping: lending?.bytes ?? 0)
        metrics.lent(now - lentBytes)
        lentBytes = now
    }

    private func publish(_ marker: kaml_descriptor) {
        var marker = marker
        if markers.count >= 16 { markers.removeFirst() }
        markers.append(completions.tail)
        send(&marker)
    }

    private func send(_ descriptor: inout kaml_descriptor) {
        descriptor.sequence = completions.tail
        descriptor.generation = generation
        completions.publish(descriptor)
        SharedWords.fence()
        if submissions.podSleeps { completions.wakePod() }
    }

    private func send(_ bytes: [UInt8], _ descriptors: [Int32]) throws(Errno) {
        guard let owner else { throw .connectionReset }
        try owner.send(bytes, descriptors: descriptors)
    }

    private func sleepUnlessNeeded() throws {
        waker.sleeps(true)
        completions.tellSleeping(true)
        SharedWords.fence()
        defer {
            completions.tellSleeping(false)
            waker.sleeps(false)
        }
        if submissions.hasEntries || waker.hasNews { return }
        // With notices that the pod does not take, or a ring that it does not read, nobody wakes this thread.
        let waitsForPod = !outbox.value.isEmpty || pendingMarker != nil || making.first?.isDone == true
        try poller.wait(milliseconds: waitsForPod ? 10 : 1000) { _, _ in }
    }

    private func noteStall(_ cause: FeedCauseLabel?) {
        if stall?.cause == cause { return }
        let now = clock.monotonicNanoseconds()
        if let stall { metrics.stalled(stall.cause, nanoseconds: now &- stall.since) }
        stall = cause.map { ($0, now) }
    }
}

/// An outbox that the stream and its containers fill. One thread at a time.
final class OutboxBox {
    var value = Outbox()
}
