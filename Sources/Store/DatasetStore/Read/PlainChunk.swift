import Synchronization

/// The verified plain bytes of one chunk.
@safe package final class PlainChunk: @unchecked Sendable {
    // Sendable: the bytes never change once made.
    package let bytes: UnsafeRawBufferPointer

    /// `fill` gets exactly `count` bytes of memory to fill.
    init<Failure: Error>(
        count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        do throws(Failure) { try unsafe fill(memory) } catch {
            unsafe memory.deallocate()
            throw error
        }
        unsafe bytes = UnsafeRawBufferPointer(memory)
    }

    deinit { unsafe bytes.deallocate() }
}

/// Decoded chunks that serve as bases of others, the recently used ones kept: files that lie side by side
/// changed together.
package final class PlainChunkCache: Sendable {
    struct Key: Hashable, Sendable {
        var pack: PackID
        var chunk: UInt32
    }

    private let kept: Mutex<LeastRecentlyUsed<Key, PlainChunk>>

    /// `capacity` in bytes.
    package init(capacity: Int = 24 << 20) { kept = Mutex(LeastRecentlyUsed(capacity: capacity)) }

    func find(_ key: Key) -> PlainChunk? { kept.withLock { $0.find(key) } }
    func keep(_ chunk: PlainChunk, as key: Key) {
        kept.withLock { unsafe $0.keep(chunk, as: key, cost: chunk.bytes.count) }
    }
}
