package import Chunking
package import DatasetStore
import System

/// Tells the differences of two snapshots as they are found: there may be more of them than memory holds.
package struct DiffReport {
    /// Calls its argument for each difference, in the order of a tree walk.
    package typealias Walk = (
        (SnapshotChange) throws(StoreError) -> Void
    ) throws(StoreError) -> SnapshotDiff.Summary

    private let from: (name: String, snapshot: ContentHash)?
    private let to: (name: String, snapshot: ContentHash)
    /// Changes that are kept for the lists after the first one. With more, the snapshots are compared again.
    private let keptLimit: Int

    /// `from` is nil of a first commit, which has none before it.
    package init(
        from: (name: String, snapshot: ContentHash)?, to: (name: String, snapshot: ContentHash),
        keptLimit: Int = 50_000
    ) {
        self.from = from
        self.to = to
        self.keptLimit = keptLimit
    }

    package func write(
        as format: OutputFormat, _ walk: Walk, to write: @escaping (String) -> Void
    ) throws(StoreError) {
        if format == .table { return try writeLines(walk, to: write) }
        var object = ListedObject(format, write)
        var kept: [SnapshotChange] = []
        var keepsAll = true
        object.beginList("added")
        let summary = try walk { change throws(StoreError) in
            if change.kind == .added {
                object.element(Self.value(change))
            } else if keepsAll {
                kept.append(change)
                if kept.count > keptLimit { (keepsAll, kept) = (false, []) }
            }
        }
        object.endList()
        if let from {
            object.field("from", ["name": .string(from.name), "snapshot": .string(from.snapshot.hex)])
        }
        for kind in [SnapshotChange.Kind.modified, .removed] {
            object.beginList(kind.rawValue)
            if keepsAll {
                for change in kept where change.kind == kind { object.element(Self.value(change)) }
            } else {
                _ = try walk { change throws(StoreError) in
                    if change.kind == kind { object.element(Self.value(change)) }
                }
            }
            object.endList()
        }
        object.field("summary", Self.value(summary))
        object.field("to", ["name": .string(to.name), "snapshot": .string(to.snapshot.hex)])
        object.end()
    }

    private static func value(_ summary: SnapshotDiff.Summary) -> OutputValue {
        [
            "added": .count(summary.added), "removed": .count(summary.removed),
            "modified": .count(summary.modified), "timesOnly": .count(summary.touched),
            "addedBytes": .unsigned(summary.addedBytes), "removedBytes": .unsigned(summary.removedBytes),
            "shardsRead": .count(summary.shardsRead), "shardsSkipped": .count(summary.shardsSkipped),
        ]
    }

    /// `size` is the newer one; of something removed, the one it had.
    private static func value(_ change: SnapshotChange) -> OutputValue {
        var object = OutputObject()
        object.set("path", change.path)
        object["type"] = (change.new ?? change.old).map { .string($0.kind.word) }
        object["size"] = (change.new ?? change.old).map { .unsigned($0.size) }
        if change.kind == .modified {
            object["oldSize"] = change.old.map { .unsigned($0.size) }
            object["changed"] = .list(change.aspects.words.map(OutputValue.string))
        }
        return object.value
    }

    private func writeLines(_ walk: Walk, to write: @escaping (String) -> Void) throws(StoreError) {
        var isEmpty = true
        var tellsTimes = false
        let summary = try walk { change throws(StoreError) in
            isEmpty = false
            if change.aspects == .modified { tellsTimes = true }
            write(Self.line(change) + "\n")
        }
        if isEmpty {
            write(
                from.map { "no differences between \($0.name) and \(to.name)\n" } ?? "\(to.name) is empty\n")
        }
        let total = "\(summary.added) added, \(summary.removed) removed, \(summary.modified) modified"
        let bytes = "+\(BytesText.of(summary.addedBytes)) -\(BytesText.of(summary.removedBytes))"
        write("\(total)  (\(bytes))\n")
        if summary.touched > summary.modified || (summary.touched > 0 && !tellsTimes) {
            write(
                "\(CountText.of(UInt64(summary.touched), "entry differs", "entries differ")) in the time of modification alone (--times lists them)\n"
            )
        }
    }

    private static func line(_ change: SnapshotChange) -> String {
        let path = change.path.description
        switch change.kind {
        case .added: return "+ \(path)\(slash(change.new))  \(BytesText.of(change.new?.size ?? 0))"
        case .removed: return "- \(path)\(slash(change.old))  \(BytesText.of(change.old?.size ?? 0))"
        case .modified:
            let (old, new) = (change.old?.size ?? 0, change.new?.size ?? 0)
            let sizes = old == new ? BytesText.of(new) : "\(BytesText.of(old)) -> \(BytesText.of(new))"
            return "~ \(path)\(slash(change.new))  \(sizes)  \(change.aspects.words.joined(separator: ","))"
        }
    }

    private static func slash(_ side: SnapshotChange.Side?) -> String { side?.kind == .directory ? "/" : "" }
}

extension EntryKind {
    /// The word for people and in JSON.
    package var word: String {
        switch self {
        case .directory: "directory"
        case .empty, .chunk, .extents: "file"
        case .symlink: "symlink"
        case .hardLink: "hardlink"
        }
    }
}
