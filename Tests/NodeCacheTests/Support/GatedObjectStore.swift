import KamlTestSupport
import ObjectStore
import System

/// A store of which some reads wait until the test opens the gate.
final class GatedObjectStore: ObjectStore {
    private let store: any ObjectStore
    private let waits: @Sendable (Range<UInt64>) -> Bool
    private let state = Monitor((isOpen: false, reads: [Range<UInt64>]()))

    init(_ store: any ObjectStore, waits: @escaping @Sendable (Range<UInt64>) -> Bool) {
        self.store = store
        self.waits = waits
    }

    var location: String { store.location }
    /// Ranges of all reads so far, in the order they came.
    var reads: [Range<UInt64>] { state.withLock { $0.reads } }

    func open() {
        state.withLock { $0.isOpen = true }
        state.wake()
    }

    /// Waits until somebody reads from `offset` on.
    func waitUntilRead(_ offset: UInt64) {
        state.wait { $0.reads.contains { $0.lowerBound == offset } ? () : nil }
    }

    private func pass(_ range: Range<UInt64>) {
        state.withLock { $0.reads.append(range) }
        state.wake()
        if waits(range) { state.wait { $0.isOpen ? () : nil } }
    }

    func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        pass(offset..<(offset + UInt64(buffer.count)))
        try store.read(key, from: offset, into: buffer)
    }

    func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        pass(range)
        try store.read(key, range, body)
    }

    func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? { try store.size(of: key) }
    func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try store.readAll(key, limit: limit)
    }
    func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome { try store.createIfAbsent(key, bytes) }
    func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        try store.makeWriter(key)
    }
    func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) { try store.list(prefix, after: after, body) }
    func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store.delete(key) }
}
