import Synchronization
import System

/// A chunk's plain bytes in a block.
@safe struct HeldChunk: Sendable {
    let block: Block
    let range: Range<Int>
    var bytes: UnsafeRawBufferPointer { unsafe block.bytes(range) }
}

/// Chunks that came a moment ago, in memory until a reader has had them: it is answered from there, and the page cache
/// needs no copy of what the container's disk has. What nobody comes for is let go after a while.
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
        /// Whether its bytes are on disk past the page cache, so that it stays until it was read.
        var isKept = false
    }

    private struct State {
        var stretches: [ObjectIdentifier: Stretch] = [:]
        var blocks: [Key: ObjectIdentifier] = [:]
        var kept = 0
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
    var keptBytes: Int { state.withLock { $0.kept * Block.capacity } }

    /// Enters a verified chunk whose block is still being filled, or written.
    func enter(_ container: Container, _ chunk: Int, _ held: HeldChunk) {
        let id = ObjectIdentifier(held.block)
        let now = clock.monotonicNanoseconds()
        state.withLock { state in
            var stretch =
                state.stretches.removeValue(forKey: id)
                ?? Stretch(container: container, chunks: [:], block: held.block, unread: 0, since: now)
            stretch.chunks[chunk] = held.range
            stretch.unread += held.range.count
            stretch.since = now
            state.stretches[id] = stretch
            state.blocks[Key(container: ObjectIdentifier(container), chunk: chunk)] = id
        }
        container.heldChunks.wrappingAdd(1, ordering: .releasing)
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
        guard left <= count, let stretch = state.stretches[id], stretch.isKept else { return }
        stretch.container.isWithReaders.store(true, ordering: .relaxed)
        drop(id, in: &state)
    }

    /// Whether a block that is full may stay until its readers come: it then counts. False when others have the room.
    func keep(_ block: Block) -> Bool {
        let now = clock.monotonicNanoseconds()
        return state.withLock { state in
            if (state.kept + 1) * Block.capacity > limit { dropOld(now, in: &state) }
            guard (state.kept + 1) * Block.capacity <= limit else { return false }
            let id = ObjectIdentifier(block)
            guard state.stretches[id] != nil else { return false }
            state.stretches[id]?.isKept = true
            state.kept += 1
            return true
        }
    }

    /// The block's chunks are where readers find them. It goes unless it is kept for bytes that nobody has had.
    func settled(_ block: Block, isKept: Bool) {
        state.withLock { state in
            let id = ObjectIdentifier(block)
            guard let stretch = state.stretches[id] else { return }
            if !isKept || stretch.unread == 0 { drop(id, in: &state) }
        }
    }

    /// Lets go of what nobody came for.
    func trim() {
        let now = clock.monotonicNanoseconds()
        state.withLock { dropOld(now, in: &$0) }
    }

    private func dropOld(_ now: UInt64, in state: inout State) {
        for (id, stretch) in state.stretches where stretch.isKept && now &- stretch.since > Self.patience {
            drop(id, in: &state)
        }
    }

    private func drop(_ id: ObjectIdentifier, in state: inout State) {
        guard let stretch = state.stretches.removeValue(forKey: id) else { return }
        if stretch.isKept { state.kept -= 1 }
        for chunk in stretch.chunks.keys {
            let key = Key(container: ObjectIdentifier(stretch.container), chunk: chunk)
            // Fetched again, it may lie in another block by now.
            if state.blocks[key] == id { state.blocks[key] = nil }
        }
        stretch.container.heldChunks.wrappingSubtract(stretch.chunks.count, ordering: .releasing)
    }
}
