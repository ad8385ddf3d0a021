import Glibc
import Synchronization

/// Counters that many threads add to without meeting: each thread adds to one of several copies, and whoever reads sums
/// them up.
@safe struct ShardedCells: ~Copyable, @unchecked Sendable {
    // Sendable: atomics, freed with their one owner.
    private static let shards = 16
    /// Two cache lines, since the hardware fetches neighbours in pairs.
    private static let alignment = 128

    private let cells: UnsafeMutablePointer<Atomic<UInt64>>
    private let stride: Int
    let count: Int

    init(count: Int) {
        self.count = count
        let perLine = Self.alignment / MemoryLayout<Atomic<UInt64>>.stride
        stride = (count + perLine - 1) / perLine * perLine
        let total = stride * Self.shards
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: total * MemoryLayout<Atomic<UInt64>>.stride, alignment: Self.alignment)
        unsafe cells = unsafe raw.bindMemory(to: Atomic<UInt64>.self, capacity: total)
        for index in 0..<total { unsafe (cells + index).initialize(to: Atomic(0)) }
    }

    deinit { unsafe UnsafeMutableRawPointer(cells).deallocate() }

    /// The copy that the calling thread adds to. Stacks, and the thread's own data with them, lie far apart, so the
    /// address spreads well when its low bits are mixed in.
    @inline(__always)
    static var shard: Int {
        let thread = UInt64(pthread_self()) &* 0x9E37_79B9_7F4A_7C15
        return Int(thread >> 60)
    }

    @inline(__always)
    func add(_ index: Int, _ amount: UInt64, shard: Int = Self.shard) {
        unsafe (cells + (shard &* stride &+ index)).pointee.wrappingAdd(amount, ordering: .relaxed)
    }

    func sum(_ index: Int) -> UInt64 {
        var sum: UInt64 = 0
        for shard in 0..<Self.shards {
            unsafe sum &+= (cells + (shard * stride + index)).pointee.load(ordering: .relaxed)
        }
        return sum
    }
}
