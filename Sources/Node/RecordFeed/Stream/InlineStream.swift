import CKamlFeed
import System

/// The batches of a pod that cannot take descriptors: made when they are asked for, and handed out in pieces.
@safe final class InlineStream: @unchecked Sendable {
    // Sendable: a session asks for one piece at a time.
    private let plan: StreamPlan
    private let maker: BatchMaker
    private let pool: SlotPool
    private var current: PendingBatch?

    init(_ plan: StreamPlan, _ maker: BatchMaker, _ pool: SlotPool) {
        self.plan = plan
        self.maker = maker
        self.pool = pool
    }

    /// Blocks.
    func piece(position: UInt64, offset: UInt64) throws(FeedFailure) -> InlinePiece {
        guard let batch = plan.batch(at: position) else {
            return InlinePiece(
                kind: KAML_DESCRIPTOR_END.rawValue, flags: 0, position: position, records: 0, table: 0,
                length: 0,
                bytes: [])
        }
        let made = try make(batch, position)
        guard let slot = made.slot, offset <= UInt64(slot.count) else {
            throw .invalid("offset \(offset) is beyond the batch")
        }
        let count = min(FeedLimits.inlineBytes, slot.count - Int(offset))
        let bytes = unsafe Array(UnsafeRawBufferPointer(start: slot.bytes + Int(offset), count: count))
        return InlinePiece(
            kind: KAML_DESCRIPTOR_BATCH.rawValue, flags: UInt32(made.descriptor.flags), position: position,
            records: made.descriptor.records, table: 0, length: UInt64(slot.count), bytes: bytes)
    }

    private func make(_ batch: StreamPlan.Batch, _ position: UInt64) throws(FeedFailure) -> PendingBatch {
        if let current, current.position == position { return current }
        if let slot = current?.slot { pool.giveBack(slot) }
        current = nil
        let layout = try maker.look(batch)
        let slot: SlotPool.Slot
        do throws(SlotPool.Refusal) { slot = try pool.take(layout.slotBytes).slot } catch {
            throw FeedFailure(
                .exhausted, "there is no memory for a batch of \(layout.slotBytes) bytes",
                remedy: "Use a smaller batch_size, or raise feed.sessionMemory")
        }
        let pending: PendingBatch
        do throws(Errno) {
            let waker = try StreamWaker()
            let poller = try Poller()
            try poller.add(waker.event.rawValue, [.read, .edge], key: 0)
            pending = PendingBatch(waker)
            pending.position = position
            pending.slot = slot
            maker.make(layout, in: slot, pending)
            waker.sleeps(true)
            SharedWords.fence()
            while !pending.isDone { try? poller.wait(milliseconds: 100) { _, _ in } }
        } catch {
            pool.giveBack(slot)
            throw FeedFailure(
                .exhausted, "there are no descriptors left: \(error)", remedy: "Raise the agent's limit")
        }
        if let problem = pending.problem {
            pool.giveBack(slot)
            throw maker.failure(problem)
        }
        current = pending
        return pending
    }
}
