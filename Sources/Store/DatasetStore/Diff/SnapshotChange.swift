package import Chunking
package import System

/// One difference between two snapshots.
package struct SnapshotChange: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable { case added, removed, modified }

    /// In what two entries of the same path differ.
    package struct Aspects: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// The bytes of a file, the target of a symlink, or which file a hard link stands for.
        package static let content = Aspects(rawValue: 1)
        /// A file became a directory, or the like.
        package static let type = Aspects(rawValue: 2)
        package static let mode = Aspects(rawValue: 4)
        package static let owner = Aspects(rawValue: 8)
        package static let attributes = Aspects(rawValue: 16)
        package static let modified = Aspects(rawValue: 32)

        /// The words of `kaml diff -o json`.
        package var words: [String] {
            let all: [(Aspects, String)] = [
                (.content, "content"), (.type, "type"), (.mode, "mode"), (.owner, "owner"),
                (.attributes, "attributes"), (.modified, "mtime"),
            ]
            return all.filter { contains($0.0) }.map(\.1)
        }
    }

    /// One side of a difference.
    package struct Side: Sendable, Hashable {
        package var kind: EntryKind
        package var mode: UInt32
        package var size: UInt64
        package var modified: Timestamp
        /// Of a file with bytes, unless it is an imported object, whose contents are not known.
        package var hash: ContentHash?

        init(_ record: RecordView, in view: ShardView) {
            kind = record.kind
            mode = record.mode
            size = record.size
            modified = record.modified
            let isKnown = (kind == .chunk || kind == .extents) && !view.isReference(record)
            hash = isKnown ? record.hash : nil
        }
    }

    package var kind: Kind
    /// Components joined by NUL.
    package var keyPath: ByteString
    package var old: Side?
    package var new: Side?
    /// Of `.modified`; empty otherwise.
    package var aspects: Aspects

    package var path: ByteString { ManifestEntry.displayPath(keyPath: keyPath) }
}

extension SnapshotChange.Aspects {
    /// In what two records differ. Where a file's bytes lie is no difference: only what they are. Of imported objects that
    /// means which object and version; against stored bytes nothing is known, which counts as different.
    init(_ old: RecordView, _ new: RecordView) {
        self = []
        if old.mode & 0o170000 != new.mode & 0o170000 { insert(.type) }
        if !Self.haveSameContent(old, new) { insert(.content) }
        if old.mode & 0o7777 != new.mode & 0o7777 { insert(.mode) }
        if old.userID != new.userID || old.groupID != new.groupID { insert(.owner) }
        if old.modified != new.modified { insert(.modified) }
        if old.hasAttributes || new.hasAttributes, old.attributes != new.attributes { insert(.attributes) }
    }

    private static func haveSameContent(_ old: RecordView, _ new: RecordView) -> Bool {
        switch (old.kind, new.kind) {
        case (.directory, .directory), (.empty, .empty): true
        case (.chunk, .chunk), (.extents, .extents): old.size == new.size && old.hash == new.hash
        case (.symlink, .symlink), (.hardLink, .hardLink): unsafe old.target.elementsEqual(new.target)
        // One chunk or several is decided by size and settings, so the bytes can be the same.
        default: false
        }
    }
}
