package import Chunking
package import DatasetStore
import System

/// The differences of two snapshots.
package struct DiffReport: Report {
    private let from: (name: String, snapshot: ContentHash)?
    private let to: (name: String, snapshot: ContentHash)
    private let changes: [SnapshotChange]
    private let summary: SnapshotDiff.Summary

    /// `from` is nil of a first commit, which has none before it.
    package init(
        from: (name: String, snapshot: ContentHash)?, to: (name: String, snapshot: ContentHash),
        changes: [SnapshotChange], summary: SnapshotDiff.Summary
    ) {
        self.from = from
        self.to = to
        self.changes = changes
        self.summary = summary
    }

    package var value: OutputValue {
        var object = OutputObject([
            "to": ["name": .string(to.name), "snapshot": .string(to.snapshot.hex)],
            "added": .list(changes.filter { $0.kind == .added }.map(Self.value)),
            "removed": .list(changes.filter { $0.kind == .removed }.map(Self.value)),
            "modified": .list(changes.filter { $0.kind == .modified }.map(Self.value)),
            "summary": [
                "added": .count(summary.added), "removed": .count(summary.removed),
                "modified": .count(summary.modified), "timesOnly": .count(summary.touched),
                "addedBytes": .unsigned(summary.addedBytes), "removedBytes": .unsigned(summary.removedBytes),
                "shardsRead": .count(summary.shardsRead), "shardsSkipped": .count(summary.shardsSkipped),
            ],
        ])
        object["from"] = from.map { ["name": .string($0.name), "snapshot": .string($0.snapshot.hex)] }
        return object.value
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

    package func render() -> String {
        var text = ""
        for change in changes { text += Self.line(change) + "\n" }
        if changes.isEmpty {
            text +=
                from.map { "no differences between \($0.name) and \(to.name)\n" } ?? "\(to.name) is empty\n"
        }
        let total = "\(summary.added) added, \(summary.removed) removed, \(summary.modified) modified"
        let bytes = "+\(BytesText.of(summary.addedBytes)) -\(BytesText.of(summary.removedBytes))"
        text += "\(total)  (\(bytes))\n"
        if summary.touched > summary.modified
            || (summary.touched > 0 && changes.allSatisfy { $0.aspects != .modified })
        {
            text +=
                "\(CountText.of(UInt64(summary.touched), "entry differs", "entries differ")) in the time of modification alone (--times lists them)\n"
        }
        return text
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
