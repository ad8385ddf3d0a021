import Synchronization

/// What a session has done since it started, summed over its workers.
package struct SessionStatistics: Sendable, Equatable {
    /// Requests received, by the kind of the request.
    package var lookups: UInt64 = 0
    package var attributeReads: UInt64 = 0
    package var opens: UInt64 = 0
    package var passthroughOpens: UInt64 = 0
    package var directoryOpens: UInt64 = 0
    package var directoryReads: UInt64 = 0
    package var reads: UInt64 = 0
    package var releases: UInt64 = 0
    package var linkReads: UInt64 = 0
    package var extendedAttributeReads: UInt64 = 0
    package var otherRequests: UInt64 = 0
    /// Bytes of file content that went through the agent, and READs answered.
    package var readBytes: UInt64 = 0
    package var readsAnswered: UInt64 = 0
    /// Replies that carried an errno.
    package var errors: UInt64 = 0

    package init() {}
}

/// What a worker counts. The raw value is the place in its block.
enum Counter: Int, CaseIterable {
    case lookups, attributeReads, opens, passthroughOpens, directoryOpens, directoryReads, reads, releases
    case linkReads, extendedAttributeReads, otherRequests, readBytes, readsAnswered, errors

    /// By the opcode in the request's header (include/uapi/linux/fuse.h).
    init(opcode: UInt32) {
        switch opcode {
        case 1: self = .lookups
        case 3: self = .attributeReads
        case 5: self = .linkReads
        case 14: self = .opens
        case 15: self = .reads
        case 18: self = .releases
        case 22, 23: self = .extendedAttributeReads
        case 27: self = .directoryOpens
        case 28, 44: self = .directoryReads
        default: self = .otherRequests
        }
    }

    func path() -> WritableKeyPath<SessionStatistics, UInt64> {
        switch self {
        case .lookups: \.lookups
        case .attributeReads: \.attributeReads
        case .opens: \.opens
        case .passthroughOpens: \.passthroughOpens
        case .directoryOpens: \.directoryOpens
        case .directoryReads: \.directoryReads
        case .reads: \.reads
        case .releases: \.releases
        case .linkReads: \.linkReads
        case .extendedAttributeReads: \.extendedAttributeReads
        case .otherRequests: \.otherRequests
        case .readBytes: \.readBytes
        case .readsAnswered: \.readsAnswered
        case .errors: \.errors
        }
    }
}

/// One thread's counters, on cache lines of their own.
@safe struct CounterBlock: ~Copyable, @unchecked Sendable {
    // Sendable: atomics, freed with their one owner.
    private let values: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        // 128: two lines, since the hardware fetches neighbours in pairs.
        let stride = MemoryLayout<Atomic<UInt64>>.stride
        let bytes = (Counter.allCases.count * stride + 127) / 128 * 128
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 128)
        unsafe values = unsafe raw.bindMemory(to: Atomic<UInt64>.self, capacity: Counter.allCases.count)
        for index in Counter.allCases.indices { unsafe (values + index).initialize(to: Atomic(0)) }
    }

    deinit { unsafe UnsafeMutableRawPointer(values).deallocate() }

    /// Only from the block's own thread: a plain load and store, where an addition would lock the bus.
    @inline(__always)
    func addAlone(_ counter: Counter, _ amount: UInt64 = 1) {
        let value = unsafe values + counter.rawValue
        unsafe value.pointee.store(value.pointee.load(ordering: .relaxed) &+ amount, ordering: .releasing)
    }

    /// From any thread.
    func addShared(_ counter: Counter, _ amount: UInt64 = 1) {
        unsafe (values + counter.rawValue).pointee.wrappingAdd(amount, ordering: .releasing)
    }

    func value(_ counter: Counter) -> UInt64 {
        unsafe (values + counter.rawValue).pointee.load(ordering: .acquiring)
    }

    func add(to statistics: inout SessionStatistics) {
        for counter in Counter.allCases { statistics[keyPath: counter.path()] &+= value(counter) }
    }
}
