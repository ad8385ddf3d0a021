package import Synchronization

/// How far some work is, for whoever draws it: written by the work without a lock, read at any time.
package final class WorkCounter: Sendable {
    private let label = Mutex("")
    package let bytes = Atomic<UInt64>(0)
    /// 0 when it is not known.
    package let totalBytes = Atomic<UInt64>(0)
    package let items = Atomic<UInt64>(0)

    package init() {}

    /// What is being done now, such as `reading data`.
    package var phase: String { label.withLock { $0 } }

    package func begin(_ phase: String, totalBytes total: UInt64 = 0) {
        label.withLock { $0 = phase }
        bytes.store(0, ordering: .relaxed)
        items.store(0, ordering: .relaxed)
        totalBytes.store(total, ordering: .relaxed)
    }

    package func add(bytes count: UInt64 = 0, items number: UInt64 = 0) {
        bytes.add(count, ordering: .relaxed)
        items.add(number, ordering: .relaxed)
    }
}
