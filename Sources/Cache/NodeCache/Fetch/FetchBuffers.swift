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
    func raw(_ count: Int) -> UnsafeMutableRawBufferPointer { raw.prefix(count) }
    /// A single frame that is read again.
    func retry(_ count: Int) -> UnsafeMutableRawBufferPointer { retry.prefix(count) }
    /// A chunk's decompressed bytes.
    func plain(_ count: Int) -> UnsafeMutableRawBufferPointer { plain.prefix(count) }
    /// The plain bytes of a prefix frame's base.
    func base(_ count: Int) -> UnsafeMutableRawBufferPointer { base.prefix(count) }
}

/// Memory that grows to what was asked for and stays.
private struct GrowingBuffer: ~Copyable {
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { memory.deallocate() }

    mutating func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if memory.count < count {
            memory.deallocate()
            // Page-aligned, so that the kernel copies whole pages.
            memory = .allocate(byteCount: max(count, 64 << 10), alignment: 4096)
        }
        return UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
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
        idle.withLock { taken = $0.buffers.popLast() }
        nonisolated(unsafe) let buffers = taken ?? FetchBuffers()
        defer { idle.withLock { $0.buffers.append(buffers) } }
        return body(buffers)
    }
}
