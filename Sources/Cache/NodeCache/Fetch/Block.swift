import System

/// Memory for a stretch of a container: filled by one thread, written at once, and read from until it is let go. Then it
/// goes back to its pool, since first touches of memory are slow.
@safe final class Block: @unchecked Sendable {
    // Sendable: bytes are written by one thread before others are given them, and never again.

    /// Bytes of container that fit. A page more than the largest chunk, which may begin anywhere in its first page.
    static let capacity = (1 << 20) + Int(pageBytes)
    /// What the kernel keeps files by, and direct writes are aligned to.
    static let pageBytes: UInt64 = 4096

    /// Page-aligned, `capacity` bytes.
    let memory: UnsafeMutableRawPointer
    private let pool: BlockPool

    fileprivate init(_ memory: UnsafeMutableRawPointer, _ pool: BlockPool) {
        unsafe self.memory = unsafe memory
        self.pool = pool
    }

    deinit { unsafe pool.giveBack(memory) }

    func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count)
    }
}

/// Memory of blocks that nobody has, kept for the next ones until `trim`.
final class BlockPool: Sendable {
    /// A block's memory while nobody has it.
    @safe private struct IdleMemory: @unchecked Sendable {
        // Sendable: whoever takes it out of the pool has the memory alone.
        let memory: UnsafeMutableRawPointer
    }

    private let idle = Monitor<[IdleMemory]>([])
    /// Bytes of all blocks, in use or idle.
    let meter = MemoryMeter()

    deinit { trim() }

    func take() -> Block {
        if let page = idle.withLock({ $0.popLast() }) { return unsafe Block(page.memory, self) }
        meter.add(Block.capacity)
        return unsafe Block(
            .allocate(byteCount: Block.capacity, alignment: Int(Block.pageBytes)), self)
    }

    fileprivate func giveBack(_ memory: UnsafeMutableRawPointer) {
        let page = unsafe IdleMemory(memory: memory)
        idle.withLock { $0.append(page) }
    }

    /// Gives idle memory back to the system.
    func trim() {
        let pages = idle.withLock { idle in
            defer { idle = [] }
            return idle
        }
        for page in pages {
            unsafe page.memory.deallocate()
            meter.add(-Block.capacity)
        }
    }
}
