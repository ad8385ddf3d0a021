import Synchronization
import System

/// A chunk's plain bytes in a block.
@safe struct HeldChunk: Sendable {
    let block: Block
    let range: Range<Int>
    var bytes: UnsafeRawBufferPointer { unsafe block.bytes(range) }
}

/// Chunks that came a moment ago, in memory until a reader has had them: the container's disk has them past the page
/// cache, which needs no copy of them. What nobody comes for is let go after a while.
final class RecentChunks: Sendable {
    struct Key: Hashable {
        var container: ObjectIdentifier
        var chunk: Int
    }

    /// After so many nanoseconds without a reader a block may make room.
    private static let patience: UInt64 = 2_000_000_000

    private struct Stretch {
        var container: Container
        var chunks: [Int: Range<Int>]
        var block: Block
        /// Plain bytes that no reader has had.
        var unread: Int
        var since: UInt64
    }

    private struct State {
        var stretches: [ObjectIdentifier: Stretch] = [:]
        var blocks: [Key: ObjectIdentifier] = [:]
        /// Blocks that are to come.
        var reserved = 0
        var count: Int { stretches.count + reserved }
    }

    private let state = Monitor(State())
    private let limit: Int
    private let clock: any Clock

    /// `limit` bounds the bytes of blocks that wait for readers.
    init(limit: Int, clock: any Clock) {
        self.limit = limit
        self.clock = clock
    }

    /// Bytes of blocks that wait for readers now.
    var keptBytes: Int { state.withLock { $0.count * Block.capacity } }

    /// Makes room for a block that is about to be written. False when others have it. Whoever has the room owes one
    /// `enter` or `giveBack`.
    func reserve() -> Bool {
        let now = clock.monotonicNanoseconds()
        return state.withLock { state in
            if (state.count + 1) * Block.capacity > limit { dropOld(now, in: &state) }
            guard (state.count + 1) * Block.capacity <= limit else { return false }
            state.reserved += 1
            return true
        }
    }

    /// The block was not written.
    func giveBack() { state.withLock { $0.reserved -= 1 } }

    /// Enters the chunks of a block that was written past the page cache.
    func enter(_ container: Container, _ chunks: [(chunk: Int, held: HeldChunk)]) {
        let now = clock.monotonicNanoseconds()
        state.withLock { state in
            state.reserved -= 1
            guard let block = chunks.first?.held.block else { return }
            let id = ObjectIdentifier(block)
            var stretch = Stretch(container: container, chunks: [:], block: block, unread: 0, since: now)
            for (chunk, held) in chunks {
                stretch.chunks[chunk] = held.range
                stretch.unread += held.range.count
                state.blocks[Key(container: ObjectIdentifier(container), chunk: chunk)] = id
            }
            state.stretches[id] = stretch
        }
        container.heldChunks.wrappingAdd(chunks.count, ordering: .releasing)
    }

    func holds(_ container: Container, _ chunk: Int) -> Bool {
        let key = Key(container: ObjectIdentifier(container), chunk: chunk)
        return state.withLock { $0.blocks[key] != nil }
    }

    /// A chunk's bytes, for a reader that takes so many of them.
    func take(_ container: Container, _ chunk: Int, reading count: Int) -> HeldChunk? {
        guard container.heldChunks.load(ordering: .acquiring) > 0 else { return nil }
        let key = Key(container: ObjectIdentifier(container), chunk: chunk)
        return state.withLock { state in
            guard let id = state.blocks[key], let block = state.stretches[id]?.block,
                let range = state.stretches[id]?.chunks[chunk]
            else { return nil }
            note(count, of: id, in: &state)
            return HeldChunk(block: block, range: range)
        }
    }

    /// A reader had bytes of a block by another way.
    func didRead(_ count: Int, of block: Block) {
        state.withLock { note(count, of: ObjectIdentifier(block), in: &$0) }
    }

    private func note(_ count: Int, of id: ObjectIdentifier, in state: inout State) {
        guard let left = state.stretches[id]?.unread else { return }
        state.stretches[id]?.unread = max(0, left - count)
        guard left <= count, let stretch = state.stretches[id] else { return }
        stretch.container.isWithReaders.store(true, ordering: .relaxed)
        drop(id, in: &state)
    }

    /// Lets go of what nobody came for.
    func trim() {
        let now = clock.monotonicNanoseconds()
        state.withLock { dropOld(now, in: &$0) }
    }

    private func dropOld(_ now: UInt64, in state: inout State) {
        for (id, stretch) in state.stretches where now &- stretch.since > Self.patience {
            drop(id, in: &state)
        }
    }

    private func drop(_ id: ObjectIdentifier, in state: inout State) {
        guard let stretch = state.stretches.removeValue(forKey: id) else { return }
        for chunk in stretch.chunks.keys {
            let key = Key(container: ObjectIdentifier(stretch.container), chunk: chunk)
            // Fetched again, it may lie in another block by now.
            if state.blocks[key] == id { state.blocks[key] = nil }
        }
        stretch.container.heldChunks.wrappingSubtract(stretch.chunks.count, ordering: .releasing)
    }
}
