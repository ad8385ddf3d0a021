import System

/// Where a session's large answers to Read lie: one slab, used again by each of them.
final class SlotReads: Sendable {
    static let bytes = 16 << 20

    struct Slab: Sendable {
        var memory: SharedMemory
        var segment: UInt32
    }

    private let slab = Monitor<Slab?>(nil)

    /// The slab, and whether the pod does not know it yet.
    func take(
        _ budget: SlabBudget, _ segments: SegmentNumbers
    ) throws(Errno) -> (slab: Slab, isNew: Bool) {
        if let slab = slab.withLock({ $0 }) { return (slab, false) }
        guard budget.take(Self.bytes) else { throw .noSpace }
        do throws(Errno) {
            let memory = try SharedMemory(name: "kaml-read", count: Self.bytes, writers: .thisProcess)
            let made = Slab(memory: memory, segment: segments.next())
            slab.withLock { $0 = made }
            return (made, true)
        } catch {
            budget.giveBack(Self.bytes)
            throw error
        }
    }
}
