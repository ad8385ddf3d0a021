import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System

func dataset(_ text: String = "imagenet") -> DatasetName {
    guard let name = DatasetName(text) else { preconditionFailure("\(text) is no dataset name") }
    return name
}

func ref(_ text: String) -> RefName {
    guard let name = RefName(text) else { preconditionFailure("\(text) is no ref name") }
    return name
}

/// A snapshot id that starts with the byte given.
func snapshot(_ first: UInt8, _ last: UInt8 = 0) -> ContentHash {
    var bytes = [UInt8](repeating: 0, count: 32)
    bytes[0] = first
    bytes[31] = last
    return ContentHash(bytes) ?? .zero
}

func logID(_ byte: UInt8) -> LogID {
    guard let id = LogID([UInt8](repeating: byte, count: 16)) else { preconditionFailure("16 bytes") }
    return id
}

extension LogState {
    /// The commit that follows the head of a branch.
    func nextCommit(
        _ id: ContentHash, on branch: RefName = .main, in name: DatasetName = dataset()
    ) -> LogChange {
        let head = head(of: branch, in: name)
        return .commit(
            Commit(
                dataset: name, branch: branch, snapshot: id,
                parent: head.map { Commit.Parent(sequence: $0.sequence, snapshot: $0.commit.snapshot) }))
    }

    /// Applies a change as the next record, without bytes.
    mutating func add(_ change: LogChange) {
        let next = sequence + 1
        apply(
            LogRecord(
                sequence: next, previous: lastHash, writer: logID(1), write: logID(2),
                time: Timestamp(seconds: 0, nanoseconds: 0), author: "me@here", change: change),
            hash: snapshot(UInt8(truncatingIfNeeded: next), 255))
    }
}

/// A store whose first reads wait for each other: they end only when so many are under way at one time.
final class MeetingObjectStore: ObjectStore {
    private let store: MemoryObjectStore
    private let readers: Int
    private let present = Monitor(0)

    init(_ store: MemoryObjectStore, readers: Int) {
        self.store = store
        self.readers = readers
    }

    var location: String { store.location }

    func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        present.withLock { $0 += 1 }
        present.wake()
        present.wait { $0 >= readers ? () : nil }
        return try store.readAll(key, limit: limit)
    }

    func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? { try store.size(of: key) }

    func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try store.read(key, from: offset, into: buffer)
    }

    func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        try store.createIfAbsent(key, bytes)
    }

    func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        try store.makeWriter(key)
    }

    func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        try store.list(prefix, after: after, body)
    }

    func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store.delete(key) }
}
