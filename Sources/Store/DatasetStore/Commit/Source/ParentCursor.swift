import System

/// Walks the entries of a snapshot in order, beside a scan that has the same order.
struct ParentCursor {
    private let snapshot: Snapshot
    private var shardIndex = 0
    private var view: ShardView
    private var local = 0
    private var group = 0
    private var groupEnd = 0
    private(set) var ordinal: UInt64 = 0
    private(set) var isAtEnd = false
    /// Parent path of the entry at hand.
    private(set) var directory: ByteString = ""

    init(_ snapshot: Snapshot) throws(StoreError) {
        self.snapshot = snapshot
        view = try unsafe snapshot.shard(0).pointee.view
        enterGroup()
    }

    var record: RecordView { view.record(local) }

    mutating func next() throws(StoreError) { try move(to: local + 1) }

    /// Goes to the first entry of the next directory, or of this one's part in the next shard.
    mutating func skipDirectory() throws(StoreError) { try move(to: groupEnd) }

    private mutating func move(to index: Int) throws(StoreError) {
        ordinal += UInt64(index - local)
        local = index
        if local < groupEnd { return }
        if local < view.count {
            enterGroup()
            return
        }
        shardIndex += 1
        guard shardIndex < snapshot.root.shardCount else {
            isAtEnd = true
            return
        }
        view = try unsafe snapshot.shard(shardIndex).pointee.view
        local = 0
        enterGroup()
    }

    private mutating func enterGroup() {
        group = view.record(local).directory
        groupEnd = view.directoryRecords(group).upperBound
        directory = unsafe ByteString(view.directoryPath(group))
    }
}
