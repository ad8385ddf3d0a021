package import ObjectStore
import Synchronization
package import System

/// A store in memory, as correct as the real ones: the same conformance suite runs against it.
package final class MemoryObjectStore: ObjectStore {
    private struct Object {
        var bytes: [UInt8]
        var modified: Timestamp
    }

    private let objects = Mutex<[ObjectKey: Object]>([:])
    private let clock: any Clock

    package let location = "memory://"

    package init(clock: any Clock = HostClock()) { self.clock = clock }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? {
        objects.withLock { $0[key].map { UInt64($0.bytes.count) } }
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let bytes = try bytes(of: key)
        guard let start = Int(exactly: offset), start <= bytes.count, bytes.count - start >= buffer.count
        else {
            throw ObjectStoreError(.truncated, .read, key: key.text, location: location)
        }
        buffer.copyBytes(from: bytes[start..<(start + buffer.count)])
    }

    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let bytes = try bytes(of: key)
        guard bytes.count <= limit else {
            throw ObjectStoreError(.tooLarge, .read, key: key.text, location: location)
        }
        return bytes
    }

    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        insert(key, Array(bytes))
    }

    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        MemoryObjectWriter(self, key)
    }

    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let infos = objects.withLock { objects in
            objects.filter { $0.key.text.hasPrefix(prefix) && $0.key.text > after ?? "" }
                .map {
                    ObjectInfo(key: $0.key, size: UInt64($0.value.bytes.count), modified: $0.value.modified)
                }
        }
        for info in infos.sorted(by: { $0.key < $1.key }) {
            if try !body(info) { return }
        }
    }

    package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        objects.withLock { $0[key] = nil }
    }

    /// Puts an object there whatever was before: how a test damages one.
    package func replace(_ key: ObjectKey, with bytes: [UInt8]) {
        let now = clock.now()
        objects.withLock { $0[key] = Object(bytes: bytes, modified: now) }
    }

    fileprivate func insert(_ key: ObjectKey, _ bytes: [UInt8]) -> CreateOutcome {
        let now = clock.now()
        return objects.withLock { objects in
            guard objects[key] == nil else { return .exists }
            objects[key] = Object(bytes: bytes, modified: now)
            return .created
        }
    }

    private func bytes(of key: ObjectKey) throws(ObjectStoreError) -> [UInt8] {
        guard let object = objects.withLock({ $0[key] }) else {
            throw ObjectStoreError(.notFound, .read, key: key.text, location: location)
        }
        return object.bytes
    }
}

private final class MemoryObjectWriter: ObjectWriter, @unchecked Sendable {
    // Sendable: used by one thread at a time, as the protocol says.
    private let store: MemoryObjectStore
    private let key: ObjectKey
    private var bytes: [UInt8] = []
    private var isSpent = false

    init(_ store: MemoryObjectStore, _ key: ObjectKey) {
        self.store = store
        self.key = key
    }

    var bytesWritten: UInt64 { UInt64(bytes.count) }

    func append(_ more: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try mustBeOpen()
        bytes.append(contentsOf: more)
    }

    func publish() throws(ObjectStoreError) -> CreateOutcome {
        try mustBeOpen()
        isSpent = true
        return store.insert(key, bytes)
    }

    func abandon() { isSpent = true }

    private func mustBeOpen() throws(ObjectStoreError) {
        guard !isSpent else {
            throw ObjectStoreError(.inputOutput, .write, key: key.text, location: store.location)
        }
    }
}
