import Chunking
import System

/// What one running job needs: memory that is reused, a hasher and a decompressor.
final class FetchBuffers {
    private var raw = GrowingBuffer()
    private var retry = GrowingBuffer()
    private var plain = GrowingBuffer()
    private var base = GrowingBuffer()
    let hasher = ContentHasher()
    let decoder = FrameDecoder()

    /// The bytes of a range of the store object.
    func raw(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe raw.prefix(count) }
    /// A single frame that is read again.
    func retry(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe retry.prefix(count) }
    /// A chunk's decompressed bytes.
    func plain(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe plain.prefix(count) }
    /// The plain bytes of a prefix frame's base.
    func base(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe base.prefix(count) }
}

/// Memory that grows to what was asked for and stays.
@safe private struct GrowingBuffer: ~Copyable {
    private var memory = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { unsafe memory.deallocate() }

    mutating func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < count {
            unsafe memory.deallocate()
            // Page-aligned, so that the kernel copies whole pages.
            unsafe memory = .allocate(byteCount: max(count, 64 << 10), alignment: 4096)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}

/// Buffers for as many jobs as run at once; more are made when they are needed, and kept.
final class FetchBufferPool: Sendable {
    private struct Idle: ~Copyable {
        // One thread at a time has a FetchBuffers: the pool's lock hands it over.
        nonisolated(unsafe) var buffers: [FetchBuffers] = []
    }
    private let idle = Monitor(Idle())

    func with<Value>(_ body: (FetchBuffers) -> Value) -> Value {
        nonisolated(unsafe) var taken: FetchBuffers?
        idle.withLock { unsafe taken = unsafe $0.buffers.popLast() }
        nonisolated(unsafe) let buffers = unsafe taken ?? FetchBuffers()
        defer { idle.withLock { unsafe $0.buffers.append(buffers) } }
        return unsafe body(buffers)
    }
}
