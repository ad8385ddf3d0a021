import Chunking

/// A place in a snapshot's entries that moves forward and loads a shard only when its inside is looked at.
struct ShardCursor {
    private let snapshot: Snapshot
    private(set) var shard = 0
    private var index = 0
    private var loaded: (view: ShardView, image: any ShardImage)?

    init(_ snapshot: Snapshot) { self.snapshot = snapshot }

    var isAtEnd: Bool { shard >= snapshot.root.shardCount }

    /// The shard's id when the cursor stands before its first entry, so that all of it may be skipped.
    var wholeShard: ContentHash? { isAtEnd || index > 0 ? nil : snapshot.root.shard(shard).id }

    mutating func skipShard() {
        shard += 1
        index = 0
        loaded = nil
    }

    mutating func advance() {
        index += 1
        if index >= Int(snapshot.root.shard(shard).entryCount) { skipShard() }
    }

    /// Compares the keys of two cursors that are not at their ends. The first key of a shard is in the root.
    mutating func compareKey(with other: inout ShardCursor) throws(StoreError) -> Int {
        let (left, right) = unsafe (try key(), try other.key())
        let order = unsafe KeyOrder.compare(left.directory, right.directory)
        return unsafe order != 0 ? order : KeyOrder.compare(left.name, right.name)
    }

    /// The entry here, which stays valid until the cursor leaves its shard.
    mutating func record() throws(StoreError) -> (view: ShardView, record: RecordView) {
        let view = try load()
        return (view, view.record(index))
    }

    /// Moves past everything before a key, and gives the entry there; nil when the snapshot has none. Keys are asked for
    /// in rising order.
    mutating func find(
        directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer
    ) throws(StoreError) -> (view: ShardView, record: RecordView)? {
        while !isAtEnd {
            // A shard that ends before the key need not be read.
            if index == 0, shard + 1 < snapshot.root.shardCount {
                let next = unsafe snapshot.root.firstKey(shard + 1)
                if unsafe !KeyOrder.precedes(directory, name, next.directory, next.name) {
                    skipShard()
                    continue
                }
            }
            let key = unsafe try key()
            let order = unsafe KeyOrder.compare(key.directory, directory)
            let byName = unsafe order != 0 ? order : KeyOrder.compare(key.name, name)
            if byName == 0 { return try record() }
            if byName > 0 { return nil }
            advance()
        }
        return nil
    }

    private mutating func key() throws(StoreError) -> (
        directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer
    ) {
        if loaded == nil, index == 0 { return unsafe snapshot.root.firstKey(shard) }
        let (view, record) = try record()
        return unsafe (view.directoryPath(record.directory), record.name)
    }

    private mutating func load() throws(StoreError) -> ShardView {
        if let loaded { return loaded.view }
        let opened = try snapshot.readShard(shard)
        loaded = opened
        return opened.view
    }
}
