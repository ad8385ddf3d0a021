import Chunking
package import DatasetStore
import ObjectStore
import System

extension ManifestEntry {
    /// The word for people and in JSON.
    var typeWord: String {
        switch contents {
        case .directory: "directory"
        case .empty, .chunk, .extents: "file"
        case .symlink: "symlink"
        case .hardLink: "hardlink"
        }
    }

    /// The hash over the contents, of a file with bytes. An imported object's contents are not known.
    var contentHash: ContentHash? {
        if isReference { return nil }
        return switch contents {
        case .chunk(let file): file.entry.hash
        case .extents(let hash, _): hash
        case .directory, .empty, .symlink, .hardLink: nil
        }
    }

    /// What `ls` and `stat` both tell of an entry.
    var fields: OutputObject {
        var object = OutputObject([
            "type": .string(typeWord), "mode": .string(ModeText.octal(mode)),
            "uid": .unsigned(UInt64(userID)),
            "gid": .unsigned(UInt64(groupID)), "size": .unsigned(size), "modified": .time(modified),
            "links": .unsigned(UInt64(linkCount)),
        ])
        object.set("path", ManifestEntry.displayPath(keyPath: keyPath))
        object["hash"] = contentHash.map { .string($0.hex) }
        if case .symlink(let target) = contents { object.set("target", target) }
        if case .hardLink(let target) = contents {
            object.set("target", ManifestEntry.displayPath(keyPath: target))
        }
        return object
    }
}

/// Entries of a directory, as `ls` shows them.
package struct EntriesReport: Report {
    private let entries: [ManifestEntry]
    private let isLong: Bool
    /// Shows paths instead of names.
    private let isRecursive: Bool

    package init(_ entries: [ManifestEntry], isLong: Bool, isRecursive: Bool) {
        self.entries = entries
        self.isLong = isLong
        self.isRecursive = isRecursive
    }

    package var value: OutputValue {
        ["entries": .list(entries.map(Self.value))]
    }

    /// Tells all entries below a directory as a walk meets them, directory by directory: there may be more of them than
    /// memory holds. `walk` calls its argument for each entry.
    package static func write(
        as format: OutputFormat, isLong: Bool,
        _ walk: ((ManifestEntry) throws(StoreError) -> Void) throws(StoreError) -> Void,
        to write: @escaping (String) -> Void
    ) throws(StoreError) {
        guard format == .table else {
            var object = ListedObject(format, write)
            object.beginList("entries")
            try walk { entry throws(StoreError) in object.element(value(entry)) }
            object.endList()
            return object.end()
        }
        var block: [ManifestEntry] = []
        func flush() {
            write(EntriesReport(block, isLong: isLong, isRecursive: true).render())
            block.removeAll(keepingCapacity: true)
        }
        try walk { entry throws(StoreError) in
            block.append(entry)
            if block.count == alignedRows { flush() }
        }
        flush()
    }

    /// Rows whose columns are as wide as the widest of them.
    private static let alignedRows = 4_096

    private static func value(_ entry: ManifestEntry) -> OutputValue {
        var object = entry.fields
        object.set("name", entry.name)
        return object.value
    }

    package func render() -> String {
        guard isLong else { return entries.map { name($0) + "\n" }.joined() }
        var table = Table([
            .init(""), .init("", .right), .init("", .right), .init("", .right), .init("", .right), .init(""),
            .init(""),
        ])
        for entry in entries {
            table.add([
                ModeText.of(entry.mode), String(entry.linkCount), String(entry.userID), String(entry.groupID),
                BytesText.of(entry.size), TimeText.local(entry.modified), name(entry),
            ])
        }
        return table.render()
    }

    private func name(_ entry: ManifestEntry) -> String {
        let name = isRecursive ? ManifestEntry.displayPath(keyPath: entry.keyPath) : entry.name
        switch entry.contents {
        case .directory: return "\(name)/"
        case .symlink(let target) where isLong: return "\(name) -> \(target)"
        case .hardLink(let target) where isLong:
            return "\(name) == \(ManifestEntry.displayPath(keyPath: target))"
        default: return name.description
        }
    }
}

/// All that is known of one entry, and where its bytes lie.
package struct StatReport: Report {
    /// The part of a file in one pack.
    package struct PackShare: Sendable {
        package var pack: PackReference
        package var chunks: UInt64 = 0
        package var bytes: UInt64 = 0
        package var storedBytes: UInt64 = 0
        package var prefixFrames: UInt64 = 0
        package var place: UInt64 = 0

        package init(_ pack: PackReference, place: UInt64) {
            self.pack = pack
            self.place = place
        }
    }

    private let entry: ManifestEntry
    private let shares: [PackShare]
    private let holes: UInt64

    package init(_ entry: ManifestEntry, shares: [PackShare], holes: UInt64) {
        self.entry = entry
        self.shares = shares
        self.holes = holes
    }

    package var value: OutputValue {
        var object = entry.fields
        if entry.contentHash != nil {
            object["chunks"] = .unsigned(shares.reduce(0) { $0 + $1.chunks })
            object["storedBytes"] = .unsigned(shares.reduce(0) { $0 + $1.storedBytes })
            object["holeBytes"] = .unsigned(holes)
            object["packs"] = .list(shares.map(Self.value))
        }
        let attributes = entry.attributes.filter { !$0.isReserved }
        if !attributes.isEmpty {
            object["attributes"] = .list(
                attributes.map { attribute in
                    var fields = OutputObject()
                    fields.set("name", attribute.name)
                    fields.set("value", ByteString(attribute.value))
                    return fields.value
                })
        }
        return object.value
    }

    private static func value(_ share: PackShare) -> OutputValue {
        [
            "id": .string(share.pack.id.description), "object": .string(share.pack.key.text),
            "layout": .string(share.pack.layout == .file ? "file" : "slots"),
            "chunks": .unsigned(share.chunks),
            "bytes": .unsigned(share.bytes), "storedBytes": .unsigned(share.storedBytes),
            "prefixFrames": .unsigned(share.prefixFrames), "containerOffset": .unsigned(share.place),
        ]
    }

    package func render() -> String {
        var facts = Facts(.null)
        let path = ManifestEntry.displayPath(keyPath: entry.keyPath)
        facts.add("path", path.isEmpty ? "/" : path.description)
        facts.add("type", entry.typeWord)
        switch entry.contents {
        case .symlink(let target): facts.add("target", target.description)
        case .hardLink(let target):
            facts.add("target", ManifestEntry.displayPath(keyPath: target).description)
        default: break
        }
        facts.add("size", "\(entry.size)")
        facts.add("mode", "\(ModeText.octal(entry.mode)) \(ModeText.of(entry.mode))")
        facts.add("owner", "\(entry.userID):\(entry.groupID)")
        facts.add("modified", TimeText.utc(entry.modified))
        if entry.linkCount > 1 { facts.add("links", "\(entry.linkCount)") }
        if let hash = entry.contentHash { facts.add("hash", hash.hex) }
        if holes > 0 { facts.add("holes", BytesText.of(holes)) }
        for attribute in entry.attributes where !attribute.isReserved {
            facts.add("attribute", "\(attribute.name) = \(ByteString(attribute.value))")
        }
        for share in shares {
            var text =
                "\(share.pack.key): \(CountText.of(share.chunks, "chunk")), \(BytesText.of(share.bytes)) stored in "
            text += BytesText.of(share.storedBytes)
            if share.prefixFrames > 0 { text += ", \(share.prefixFrames) as differences" }
            facts.add("pack", text)
        }
        return facts.render()
    }
}

/// The figures of a whole snapshot, which `stat` adds for its root.
package struct SnapshotReport: Report {
    private let name: String
    private let snapshot: Snapshot
    private let root: StatReport

    package init(_ name: String, _ snapshot: Snapshot, root: ManifestEntry) {
        self.name = name
        self.snapshot = snapshot
        self.root = StatReport(root, shares: [], holes: 0)
    }

    package var value: OutputValue {
        let statistics = snapshot.statistics
        return [
            "name": .string(name), "snapshot": .string(snapshot.id.hex), "root": root.value,
            "entries": .unsigned(statistics.entries), "files": .unsigned(statistics.files),
            "directories": .unsigned(statistics.directories), "symlinks": .unsigned(statistics.symlinks),
            "hardLinks": .unsigned(statistics.hardLinks), "bytes": .unsigned(statistics.bytes),
            "smallFiles": .unsigned(statistics.smallFiles), "smallBytes": .unsigned(statistics.smallBytes),
            "largeFiles": .unsigned(statistics.largeFiles), "largeBytes": .unsigned(statistics.largeBytes),
            "shards": .count(snapshot.root.shardCount), "packs": .count(snapshot.root.packCount),
            "packBytes": .unsigned(snapshot.packs.reduce(0) { $0 + $1.objectSize }),
        ]
    }

    package func render() -> String {
        let statistics = snapshot.statistics
        var facts = Facts(.null)
        facts.add("snapshot", snapshot.id.hex)
        facts.add("name", name)
        facts.add("files", "\(CountText.of(statistics.files)), \(BytesText.of(statistics.bytes))")
        facts.add(
            "small files", "\(CountText.of(statistics.smallFiles)), \(BytesText.of(statistics.smallBytes))")
        facts.add(
            "large files", "\(CountText.of(statistics.largeFiles)), \(BytesText.of(statistics.largeBytes))")
        facts.add("directories", CountText.of(statistics.directories))
        facts.add("symlinks", CountText.of(statistics.symlinks))
        facts.add("hard links", CountText.of(statistics.hardLinks))
        facts.add("shards", "\(snapshot.root.shardCount)")
        let bytes = snapshot.packs.reduce(UInt64(0)) { $0 + $1.objectSize }
        facts.add("packs", "\(snapshot.root.packCount), \(BytesText.of(bytes)) (shared ones included)")
        return facts.render()
    }
}
