import Synchronization
package import System

/// Memory that a session's batches are made in: slabs, each shared with one pod alone, of one stream after the other.
///
/// A slab is touched once and used again and again. None is let go before the session ends: the pod may have it mapped, and
/// not even its owner can punch holes into sealed memory. So what the session can hold of the node is bounded.
@safe package final class SlotPool: @unchecked Sendable {
    // Sendable: used by one thread at a time, that of the session's stream.
    /// A run of a slab.
    @safe package struct Slot {
        package let slab: Slab
        package let offset: Int
        package let count: Int
        package var bytes: UnsafeMutableRawPointer { unsafe slab.base + offset }
    }

    /// Memory that the pod maps. Kept by everybody who writes into it.
    @safe package final class Slab: @unchecked Sendable {
        // Sendable: `space` is the pool's, on one thread; who writes where is decided by the slots.
        /// What the pod calls it; each stream has a number of its own for it.
        package fileprivate(set) var segment: UInt32 = 0
        package let memory: SharedMemory
        package let base: UnsafeMutableRawPointer
        fileprivate var space: SlabSpace
        private let budget: SlabBudget

        fileprivate init(bytes: Int, budget: SlabBudget) throws(Errno) {
            guard budget.take(bytes) else { throw .noSpace }
            do throws(Errno) {
                memory = try SharedMemory(name: "kaml-slab", count: bytes, writers: .thisProcess)
            } catch {
                budget.giveBack(bytes)
                throw error
            }
            guard let base = unsafe memory.bytes.baseAddress else { throw .invalid }
            unsafe self.base = base
            self.budget = budget
            space = SlabSpace(count: bytes)
        }

        deinit { budget.giveBack(unsafe memory.bytes.count) }
    }

    /// What a session may have, and the sizes of its slabs, in bytes.
    package struct Limits: Sendable {
        package var bytes: Int
        package var slab: Int

        /// `batch`: what a batch is expected to take.
        package init(bytes: Int, batch: Int) {
            self.bytes = bytes
            let wanted = max(batch, 1) <= Self.largest / 4 ? batch * 4 : Self.largest
            var slab = Self.smallest
            while slab < wanted { slab *= 2 }
            self.slab = min(slab, max(Self.smallest, bytes))
        }

        static let smallest = 16 << 20
        static let largest = 64 << 20
    }

    /// Why no slot is given.
    package enum Refusal: Error, Equatable {
        /// Until some are given back.
        case full
        /// More than the session may ever have.
        case tooLarge
        case failed(Errno)
    }

    private var limits: Limits
    private let budget: SlabBudget
    private var slabs: [Slab] = []
    private var bytes = 0
    private let segments: SegmentNumbers

    package init(_ limits: Limits, budget: SlabBudget, segments: SegmentNumbers) {
        self.limits = limits
        self.budget = budget
        self.segments = segments
    }

    package var slabBytes: Int { bytes }

    /// More than this nothing can have.
    package var largest: Int { limits.bytes }

    /// A new stream begins. What batches of an earlier one lie in stays as it is: the pod may still read them.
    package func begin(_ limits: Limits) {
        self.limits = limits
        for slab in slabs { slab.segment = 0 }
    }

    /// `isNew`: the stream's pod does not know the slab yet.
    package func take(_ count: Int) throws(Refusal) -> (slot: Slot, isNew: Bool) {
        for slab in slabs {
            if let offset = slab.space.take(count) { return slot(slab, offset, count) }
        }
        let size = max(limits.slab, Self.rounded(count))
        guard size <= limits.bytes else { throw .tooLarge }
        guard size <= limits.bytes - bytes else { throw .full }
        let slab: Slab
        do throws(Errno) {
            slab = try Slab(bytes: size, budget: budget)
        } catch .noSpace {
            // Others have it now. Without a slab nothing of this session will come back to wait for.
            throw slabs.isEmpty ? .failed(.noSpace) : .full
        } catch {
            throw .failed(error)
        }
        slabs.append(slab)
        bytes += size
        guard let offset = slab.space.take(count) else { throw .tooLarge }
        return self.slot(slab, offset, count)
    }

    private func slot(_ slab: Slab, _ offset: Int, _ count: Int) -> (Slot, isNew: Bool) {
        let isNew = slab.segment == 0
        if isNew { slab.segment = segments.next() }
        return (Slot(slab: slab, offset: offset, count: count), isNew)
    }

    package func giveBack(_ slot: Slot) { slot.slab.space.giveBack(slot.offset) }

    private static func rounded(_ count: Int) -> Int { (count + (1 << 20) - 1) & ~((1 << 20) - 1) }
}

/// Numbers of a session's segments, none of which is used twice.
package final class SegmentNumbers: Sendable {
    private let last = Atomic<UInt32>(0)
    package init() {}
    package func next() -> UInt32 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
