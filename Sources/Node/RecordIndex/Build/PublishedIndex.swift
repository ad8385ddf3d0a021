package import ObjectStore

/// Indexes that lie in a store beside their snapshots, as `indexes/<snapshot>-<format>-<tag of the selection>`: the bytes of
/// an index's file. A help and no part of a snapshot: who finds none, or a bad one, makes it.
package enum PublishedIndex {
    /// Larger ones are made by each node for itself.
    package static let mostBytes = 1 << 30

    /// Whether an index takes reading files to make.
    package static func isWorthwhile(_ format: RecordFormat) -> Bool {
        switch format {
        case .tfrecord, .tar, .jsonl: true
        case .files, .fixed: false
        }
    }

    static func key(_ name: String) -> ObjectKey? { ObjectKey("indexes/\(name)") }

    /// Nil for what is not there, too large or cannot be read now.
    static func read(_ name: String, from objects: any ObjectStore) -> [UInt8]? {
        guard let key = key(name) else { return nil }
        return try? objects.readAll(key, limit: mostBytes)
    }

    /// Stores the index for all nodes; its key, or nil when it is too large. One that is there stays.
    package static func publish(_ index: RecordIndex, in objects: any ObjectStore) throws(ObjectStoreError)
        -> ObjectKey?
    {
        let bytes = unsafe index.memory.bytes
        guard bytes.count <= mostBytes, let key = key(index.name) else { return nil }
        _ = try unsafe objects.createIfAbsent(key, bytes)
        withExtendedLifetime(index) {}
        return key
    }
}
