import Chunking
import System

/// The differences of two snapshots, told in the order of a tree walk.
///
/// Both are sorted the same way and cut into shards by their names, so equal stretches mostly are the same
/// shards: those are skipped without being read. Memory is one shard of each side.
package struct SnapshotDiff {
    /// What a diff did, and what it left out.
    package struct Summary: Sendable, Hashable {
        package var added = 0
        package var removed = 0
        package var modified = 0
        /// Entries whose times alone differ; told as `modified` only when asked for.
        package var touched = 0
        /// Of files added or with new content, in the new snapshot; of files removed, in the old one.
        package var addedBytes: UInt64 = 0
        package var removedBytes: UInt64 = 0
        package var shardsRead = 0
        package var shardsSkipped = 0
    }

    private let old: Snapshot
    private let new: Snapshot
    private let includesTimes: Bool

    /// `includesTimes`: also tell entries that differ in their modification time alone. Every change in a
    /// directory changes the directory's time, so that is noise to most readers.
    package init(from old: Snapshot, to new: Snapshot, includesTimes: Bool = false) {
        self.old = old
        self.new = new
        self.includesTimes = includesTimes
    }

    /// Tells everything in a snapshot as added: of a first commit, which has none before it.
    package static func allAdded(
        _ snapshot: Snapshot, _ body: (SnapshotChange) throws(StoreError) -> Void
    ) throws(StoreError) -> Summary {
        var summary = Summary()
        try snapshot.walk(below: "") { view, index throws(StoreError) in
            let record = view.record(index)
            summary.added += 1
            summary.addedBytes += bytes(record)
            try body(
                SnapshotChange(
                    kind: .added, keyPath: keyPath(view, record), old: nil, new: .init(record, in: view),
                    aspects: []))
        }
        summary.shardsRead = snapshot.root.shardCount
        return summary
    }

    /// Calls `body` for every difference.
    package func run(_ body: (SnapshotChange) throws(StoreError) -> Void) throws(StoreError) -> Summary {
        var summary = Summary()
        guard old.id != new.id else { return summary }
        var left = ShardCursor(old)
        var right = ShardCursor(new)
        while !left.isAtEnd || !right.isAtEnd {
            if let id = left.wholeShard, id == right.wholeShard {
                left.skipShard()
                right.skipShard()
                summary.shardsSkipped += 1
                continue
            }
            if let change = try step(&left, &right, &summary) { try body(change) }
        }
        summary.shardsRead = old.root.shardCount + new.root.shardCount - 2 * summary.shardsSkipped
        return summary
    }

    /// Moves past the smaller key, or past both when they are equal; nil when nothing differs there.
    private func step(
        _ left: inout ShardCursor, _ right: inout ShardCursor, _ summary: inout Summary
    ) throws(StoreError) -> SnapshotChange? {
        let order = left.isAtEnd ? 1 : right.isAtEnd ? -1 : try left.compareKey(with: &right)
        if order < 0 {
            let (view, record) = try left.record()
            defer { left.advance() }
            summary.removed += 1
            summary.removedBytes += Self.bytes(record)
            return SnapshotChange(
                kind: .removed, keyPath: Self.keyPath(view, record), old: .init(record, in: view), new: nil,
                aspects: []
            )
        }
        if order > 0 {
            let (view, record) = try right.record()
            defer { right.advance() }
            summary.added += 1
            summary.addedBytes += Self.bytes(record)
            return SnapshotChange(
                kind: .added, keyPath: Self.keyPath(view, record), old: nil, new: .init(record, in: view),
                aspects: [])
        }
        let (oldView, oldRecord) = try left.record()
        let (view, newRecord) = try right.record()
        defer {
            left.advance()
            right.advance()
        }
        let aspects = SnapshotChange.Aspects(oldRecord, newRecord)
        if aspects.isEmpty { return nil }
        if aspects == .modified {
            summary.touched += 1
            if !includesTimes { return nil }
        }
        summary.modified += 1
        if aspects.contains(.content) {
            summary.addedBytes += Self.bytes(newRecord)
            summary.removedBytes += Self.bytes(oldRecord)
        }
        return SnapshotChange(
            kind: .modified, keyPath: Self.keyPath(view, newRecord), old: .init(oldRecord, in: oldView),
            new: .init(newRecord, in: view),
            aspects: aspects)
    }

    private static func bytes(_ record: RecordView) -> UInt64 {
        switch record.kind {
        case .chunk, .extents: record.size
        case .directory, .empty, .symlink, .hardLink: 0
        }
    }

    private static func keyPath(_ view: ShardView, _ record: RecordView) -> ByteString {
        unsafe ManifestEntry.keyPath(
            directory: ByteString(view.directoryPath(record.directory)), name: ByteString(record.name))
    }
}
