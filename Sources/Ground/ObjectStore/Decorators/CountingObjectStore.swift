import Synchronization

/// Requests and bytes of one kind of operation.
package struct OperationCount: Hashable, Sendable {
    package var requests: UInt64 = 0
    /// Requests that threw.
    package var failures: UInt64 = 0
    /// Bytes that were read or written by the requests that did not.
    package var bytes: UInt64 = 0

    package init(requests: UInt64 = 0, failures: UInt64 = 0, bytes: UInt64 = 0) {
        self.requests = requests
        self.failures = failures
        self.bytes = bytes
    }
}

/// What went to a store so far.
package struct ObjectStoreCounts: Hashable, Sendable {
    package var size = OperationCount()
    package var read = OperationCount()
    /// `createIfAbsent`.
    package var create = OperationCount()
    /// One request for each writer, counted when it is published or fails to be.
    package var publish = OperationCount()
    /// One request for each listing, however many pages the store makes of it.
    package var list = OperationCount()
    package var delete = OperationCount()

    package var requests: UInt64 {
        [size, read, create, publish, list, delete].reduce(0) { $0 &+ $1.requests }
    }
    package var bytesRead: UInt64 { read.bytes }
    package var bytesWritten: UInt64 { create.bytes &+ publish.bytes }
}

/// Counts what passes through to another store. Reading the counts costs the callers nothing.
package final class CountingObjectStore: ObjectStore {
    private let store: any ObjectStore
    private let sizes = OperationCounter()
    private let reads = OperationCounter()
    private let creates = OperationCounter()
    private let publishes = OperationCounter()
    private let lists = OperationCounter()
    private let deletes = OperationCounter()

    package init(_ store: any ObjectStore) { self.store = store }

    package var location: String { store.location }

    package var counts: ObjectStoreCounts {
        ObjectStoreCounts(
            size: sizes.count, read: reads.count, create: creates.count, publish: publishes.count,
            list: lists.count, delete: deletes.count)
    }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? {
        try sizes.counting { () throws(ObjectStoreError) in (try store.size(of: key), 0) }
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try reads.counting { () throws(ObjectStoreError) in
            unsafe (try store.read(key, from: offset, into: buffer), buffer.count)
        }
    }

    package func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        try reads.counting { () throws(ObjectStoreError) in
            var moved = 0
            try unsafe store.read(key, range) { piece throws(ObjectStoreError) in
                moved += piece.count
                return try unsafe body(piece)
            }
            return ((), moved)
        }
    }

    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try reads.counting { () throws(ObjectStoreError) in
            let bytes = try store.readAll(key, limit: limit)
            return (bytes, bytes.count)
        }
    }

    package func makeDurable(_ key: ObjectKey) throws(ObjectStoreError) { try store.makeDurable(key) }

    package func useSingleWriterMode() { store.useSingleWriterMode() }

    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        try creates.counting { () throws(ObjectStoreError) in
            unsafe (try store.createIfAbsent(key, bytes), bytes.count)
        }
    }

    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        CountingObjectWriter(try store.makeWriter(key), publishes)
    }

    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        try lists.counting { () throws(ObjectStoreError) in (try store.list(prefix, after: after, body), 0) }
    }

    package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        try deletes.counting { () throws(ObjectStoreError) in (try store.delete(key), 0) }
    }

}

private final class CountingObjectWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let counter: OperationCounter

    init(_ writer: any ObjectWriter, _ counter: OperationCounter) {
        self.writer = writer
        self.counter = counter
    }

    var bytesWritten: UInt64 { writer.bytesWritten }

    func append(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError) { try unsafe writer.append(bytes) }

    func publish() throws(ObjectStoreError) -> CreateOutcome {
        let bytes = Int(clamping: writer.bytesWritten)
        return try counter.counting { () throws(ObjectStoreError) in (try writer.publish(), bytes) }
    }

    func abandon() { writer.abandon() }
}

private final class OperationCounter: Sendable {
    private let requests = Atomic<UInt64>(0)
    private let failures = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)

    var count: OperationCount {
        OperationCount(
            requests: requests.load(ordering: .relaxed), failures: failures.load(ordering: .relaxed),
            bytes: bytes.load(ordering: .relaxed))
    }

    /// Runs a request that returns its value and the bytes it moved.
    func counting<Value>(
        _ body: () throws(ObjectStoreError) -> (Value, Int)
    ) throws(ObjectStoreError) -> Value {
        requests.wrappingAdd(1, ordering: .relaxed)
        do throws(ObjectStoreError) {
            let (value, moved) = try body()
            bytes.wrappingAdd(UInt64(clamping: moved), ordering: .relaxed)
            return value
        } catch {
            failures.wrappingAdd(1, ordering: .relaxed)
            throw error
        }
    }
}
