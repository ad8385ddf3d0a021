import Chunking
import Synchronization
import System

/// What one running job needs: memory that is reused, hashers and a decompressor.
final class FetchBuffers {
    private var frame: GrowingBuffer
    private var retry: GrowingBuffer
    private var plain: GrowingBuffer
    private var base: GrowingBuffer
    let hasher = ContentHasher()
    /// For a chunk that comes in pieces, while others are hashed whole.
    let streamHasher = ContentHasher()
    let decoder = FrameDecoder()

    init(_ meter: MemoryMeter) {
        frame = GrowingBuffer(meter)
        retry = GrowingBuffer(meter)
        plain = GrowingBuffer(meter)
        base = GrowingBuffer(meter)
    }

    /// A frame that comes in pieces.
    func frame(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe frame.prefix(count) }
    /// A single frame that is read again.
    func retry(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe retry.prefix(count) }
    /// A chunk's decompressed bytes.
    func plain(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe plain.prefix(count) }
    /// The plain bytes of a prefix frame's base.
    func base(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe base.prefix(count) }
}

/// Bytes that fetches hold in buffers now.
final class MemoryMeter: Sendable {
    private let held = Atomic<Int>(0)
    private let most = Atomic<Int>(0)

    func add(_ bytes: Int) {
        let now = held.add(bytes, ordering: .relaxed).newValue
        most.max(now, ordering: .relaxed)
    }

    var bytes: Int { held.load(ordering: .relaxed) }
    var peak: Int { most.load(ordering: .relaxed) }
}

/// Memory that grows to what was asked for and stays.
@safe private struct GrowingBuffer: ~Copyable {
    private var memory = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private let meter: MemoryMeter

    init(_ meter: MemoryMeter) { self.meter = meter }

    deinit {
        unsafe meter.add(-memory.count)
        unsafe memory.deallocate()
    }

    mutating func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < count {
            unsafe meter.add(max(count, 64 << 10) - memory.count)
            unsafe memory.deallocate()
            // Page-aligned, so that the kernel copies whole pages.
            unsafe memory = .allocate(byteCount: max(count, 64 << 10), alignment: 4096)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}

/// Buffers for as many jobs as run at once: made when they are needed, reused, the last used first, since first touches
/// of memory are slow.
final class FetchBufferPool: Sendable {
    private struct Idle: ~Copyable {
        // One thread at a time has a FetchBuffers: the pool's lock hands it over.
        nonisolated(unsafe) var buffers: [FetchBuffers] = []
    }
    private let idle = Monitor(Idle())
    let meter = MemoryMeter()

    func with<Value>(_ body: (FetchBuffers) -> Value) -> Value {
        // Both locals stay on this thread: only the closure that takes the lock makes them look shared.
        nonisolated(unsafe) var taken: FetchBuffers?
        idle.withLock { unsafe taken = unsafe $0.buffers.popLast() }
        nonisolated(unsafe) let buffers = unsafe taken ?? FetchBuffers(meter)
        defer { idle.withLock { unsafe $0.buffers.append(buffers) } }
        return unsafe body(buffers)
    }

    /// Keeps at most `count` idle ones.
    func trim(to count: Int) {
        idle.withLock { idle in
            if unsafe idle.buffers.count > count {
                unsafe idle.buffers.removeFirst(idle.buffers.count - count)
            }
        }
    }
}
