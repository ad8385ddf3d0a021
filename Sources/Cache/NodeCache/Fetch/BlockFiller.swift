import Chunking
import DatasetStore
import System

/// Puts verified chunks that lie side by side in a container into blocks, and writes each block at once. Readers are
/// answered from the block once its chunks are written and their bits are set, so that a kill takes nothing back that
/// they were given.
struct BlockFiller {
    private struct Filling {
        let block: Block
        /// The container's byte that the block begins with, at a page.
        let start: UInt64
        /// Where the first chunk begins and the last one ends, in the block.
        var used: Range<Int>
        var claims: [(claim: FetchClaim, held: HeldChunk)] = []
        /// Chunks without a place for their hashes: answered, not kept.
        var unkept: [(claim: FetchClaim, held: HeldChunk)] = []
    }

    private let run: FetchRun
    private var filling: Filling?

    init(_ run: FetchRun) { self.run = run }

    /// Memory for a chunk's plain bytes, until the next call of any method but `keep`. Nil for one that has no place there.
    mutating func place(_ claim: FetchClaim) -> UnsafeMutableRawBufferPointer? {
        let length = Int(claim.entry.plainLength)
        let lead = Int(claim.entry.containerOffset % Block.pageBytes)
        guard length > 0, lead + length <= Block.capacity else { return nil }
        if let offset = offset(of: claim.entry) {
            return unsafe UnsafeMutableRawBufferPointer(
                start: filling.map { unsafe $0.block.memory + offset }, count: length)
        }
        flush()
        let block = run.scheduler.blocks.take()
        filling = Filling(
            block: block, start: claim.entry.containerOffset - UInt64(lead), used: lead..<lead)
        return unsafe UnsafeMutableRawBufferPointer(start: block.memory + lead, count: length)
    }

    /// Where in the current block a chunk goes, when it fits behind the last one. Nothing but the rest of a slot may lie
    /// between them.
    private func offset(of entry: ChunkEntry) -> Int? {
        guard let filling, entry.containerOffset >= filling.start else { return nil }
        let offset = entry.containerOffset - filling.start
        guard offset >= UInt64(filling.used.upperBound),
            offset - UInt64(filling.used.upperBound) < Block.pageBytes,
            run.container.pack.layout == .slots || offset == UInt64(filling.used.upperBound),
            offset + UInt64(entry.plainLength) <= UInt64(Block.capacity)
        else { return nil }
        return Int(offset)
    }

    /// What was placed last is verified.
    mutating func keep(_ claim: FetchClaim, _ hash: ContentHash) {
        guard let offset = offset(of: claim.entry), var filling else { return }
        let end = offset + Int(claim.entry.plainLength)
        // The rest of the slot before it.
        for byte in filling.used.upperBound..<offset {
            unsafe filling.block.memory.storeBytes(of: 0, toByteOffset: byte, as: UInt8.self)
        }
        let held = HeldChunk(block: filling.block, range: offset..<end)
        filling.used = filling.used.lowerBound..<end
        if run.container.keepHash(claim.chunk, claim.entry, hash) {
            filling.claims.append((claim, held))
        } else {
            filling.unkept.append((claim, held))
        }
        self.filling = filling
    }

    /// Writes what was kept, sets its bits, and answers.
    mutating func flush() {
        guard let filling else { return }
        self.filling = nil
        let (container, recent) = (run.container, run.scheduler.recent)
        let mayStay = !filling.claims.isEmpty && run.mayWriteDirectly && recent.reserve()
        let isStored = write(filling, directly: mayStay)
        if isStored {
            container.didStore(
                filling.claims.map { (chunk: $0.claim.chunk, bytes: Int($0.claim.entry.plainLength)) })
        }
        if mayStay {
            if isStored {
                recent.enter(container, filling.claims.map { ($0.claim.chunk, $0.held) })
            } else {
                recent.giveBack()
            }
        }
        for (claim, held) in filling.claims {
            run.scheduler.finish(container, claim.chunk, .held(held))
        }
        for (claim, held) in filling.unkept {
            run.context.counters.readThroughs.count()
            run.scheduler.finish(container, claim.chunk, .held(held))
        }
    }

    private func write(_ filling: Filling, directly: Bool) -> Bool {
        guard !filling.claims.isEmpty else { return true }
        guard let disk = run.container.disk else { return false }
        var used = filling.used
        if run.container.pack.layout == .slots {
            // The rest of the last slot is this chunk's too, and a whole page needs no page cache.
            let end =
                used.upperBound + (Int(Block.pageBytes) - used.upperBound % Int(Block.pageBytes))
                % Int(Block.pageBytes)
            if end <= Block.capacity, filling.start + UInt64(end) <= run.container.pack.containerSize {
                for byte in used.upperBound..<end {
                    unsafe filling.block.memory.storeBytes(of: 0, toByteOffset: byte, as: UInt8.self)
                }
                used = used.lowerBound..<end
            }
        }
        let context = run.context
        guard !context.avoidsDisk, context.space.admits(used.count, run.container) else {
            for _ in filling.claims { context.counters.readThroughs.count() }
            return false
        }
        defer { context.space.settle(used.count, run.container) }
        do throws(Errno) {
            let chunks = filling.claims.map { claim, held in
                unsafe ContainerSeal.Chunk(
                    index: claim.chunk, offset: claim.entry.containerOffset, plain: held.bytes)
            }
            try unsafe disk.store(
                filling.block.bytes(used), at: filling.start + UInt64(used.lowerBound), chunks,
                directly: directly)
            return true
        } catch {
            for _ in filling.claims { run.context.counters.readThroughs.count() }
            run.context.noticeDiskTrouble(error)
            return false
        }
    }
}
