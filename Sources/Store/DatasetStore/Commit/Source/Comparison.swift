import System

/// A scan beside the parent snapshot: which entries are known, and which files must be read.
struct Comparison {
    static let noParent = UInt32.max

    /// The same path's ordinal in the parent, or `noParent`; by ordinal.
    var parentOrdinals: [UInt32]
    /// Ordinals of files of one chunk and of symlinks that must be read, ascending.
    var smallReads: [UInt32] = []
    /// Ordinals of large files that must be read, ascending.
    var largeReads: [UInt32] = []
    var links = HardLinks()
    /// Nothing to read, and every entry is as it was.
    var isUnchanged = false
    var reusedFiles: UInt64 = 0
    /// Entries whose contents are taken from the parent, by ordinal.
    var reuses: [Bool]
}

/// Names that share an inode. The first in order is the file, the others are links to it.
struct HardLinks {
    struct Group {
        var first: UInt64
        var count: UInt32
    }

    private struct Inode: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    private var byInode: [Inode: Int] = [:]
    private var byOrdinal: [UInt64: Int] = [:]
    private(set) var groups: [Group] = []

    /// Takes a file with more than one link; true when it is not the first of its inode.
    mutating func add(_ ordinal: UInt64, _ node: SourceNode) -> Bool {
        let key = Inode(device: node.device, inode: node.inode)
        if let group = byInode[key] {
            groups[group].count += 1
            byOrdinal[ordinal] = group
            return true
        }
        byInode[key] = groups.count
        byOrdinal[ordinal] = groups.count
        groups.append(Group(first: ordinal, count: 1))
        return false
    }

    /// Whether a file of several names is still the one the scan saw. Its bytes are the other names' as well,
    /// and those still stand for the old inode when this name was replaced.
    func isExpected(_ status: FileStatus, _ node: SourceNode, _ ordinal: UInt64) -> Bool {
        guard let group = group(of: ordinal), group.count > 1 else { return true }
        return status.inode == node.inode && status.device == node.device
    }

    func group(of ordinal: UInt64) -> Group? { byOrdinal[ordinal].map { groups[$0] } }
}

extension Comparison {
    /// - Parameter wholeLimit: files up to this many bytes are one chunk.
    init(
        _ tree: SourceTree, parent: Snapshot?, cache: borrowing StatCache?, _ access: any SourceAccess,
        wholeLimit: UInt64
    ) throws(StoreError) {
        guard tree.entryCount < UInt64(Self.noParent) else {
            throw StoreError(
                .invalidInput, "the directory has \(tree.entryCount) entries, more than a snapshot can hold")
        }
        parentOrdinals = Array(repeating: Self.noParent, count: Int(tree.entryCount))
        reuses = Array(repeating: false, count: Int(tree.entryCount))
        var differs = parent?.statistics.entries != tree.entryCount
        var linkOrdinals: [(ordinal: UInt64, place: SourcePlace)] = []
        var cursor: ParentCursor?
        if let parent {
            var start = try ParentCursor(parent)
            if !Self.isSameRoot(tree, start.record) { differs = true }
            parentOrdinals[0] = 0
            try start.next()
            cursor = start
        }
        for (index, directory) in tree.directories.enumerated() {
            while let at = cursor, !at.isAtEnd, at.directory < directory.keyPath {
                differs = true
                try cursor?.skipDirectory()
            }
            let arena = tree.arenas[directory.arena]
            var ordinal = directory.firstOrdinal
            for position in directory.first..<(directory.first + directory.count) {
                let node = unsafe arena.nodes[position]
                let place = SourcePlace(directory: index, index: position)
                var record: RecordView?
                if cursor != nil {
                    record = try unsafe Self.match(&cursor, directory.keyPath, arena.name(node), &differs)
                    if record != nil, let at = cursor {
                        parentOrdinals[Int(ordinal)] = UInt32(truncatingIfNeeded: at.ordinal)
                    }
                }
                let isLink = node.kind == .regular && node.links > 1
                if isLink, links.add(ordinal, node) {
                    linkOrdinals.append((ordinal, place))
                } else {
                    if isLink { linkOrdinals.append((ordinal, place)) }
                    let trusted = Self.isTrusted(node, record, cache, access, cursor?.ordinal ?? 0)
                    take(ordinal, node, record, trusted, tree, directory, place, wholeLimit, &differs)
                }
                if record != nil { try cursor?.next() }
                ordinal += 1
            }
        }
        if let cursor, !cursor.isAtEnd { differs = true }
        if let parent, !differs, smallReads.isEmpty, largeReads.isEmpty {
            isUnchanged = try linksAreUnchanged(linkOrdinals, tree, parent)
        }
    }

    /// Moves the cursor to `name`, past what is gone; the record when it is there.
    private static func match(
        _ cursor: inout ParentCursor?, _ directory: ByteString, _ name: UnsafeRawBufferPointer,
        _ differs: inout Bool
    ) throws(StoreError) -> RecordView? {
        while let at = cursor, !at.isAtEnd, at.directory == directory {
            let order = unsafe KeyOrder.compare(at.record.name, name)
            if order == 0 { return at.record }
            if order > 0 { break }
            differs = true
            try cursor?.next()
        }
        differs = true
        return nil
    }

    private static func isSameRoot(_ tree: SourceTree, _ record: RecordView) -> Bool {
        record.mode == tree.root.mode && record.userID == tree.root.userID
            && record.groupID == tree.root.groupID
            && record.modified == tree.root.modified
            && record.attributes == (tree.directoryAttributes[""] ?? [])
    }

    private static func hasSameMetadata(_ node: SourceNode, _ record: RecordView) -> Bool {
        record.mode == node.mode && record.userID == node.userID && record.groupID == node.groupID
            && record.modified == node.modified
    }

    /// Whether a file need not be read: it is what it was when the parent was made.
    private static func isTrusted(
        _ node: SourceNode, _ record: RecordView?, _ cache: borrowing StatCache?, _ access: any SourceAccess,
        _ parentOrdinal: UInt64
    ) -> Bool {
        guard let record, record.size == node.size, hasSameMetadata(node, record) else { return false }
        switch cache {
        case .some(let cache): return cache.matches(parentOrdinal, node)
        case .none: return access.isRecorded(node, record)
        }
    }

    private mutating func take(
        _ ordinal: UInt64, _ node: SourceNode, _ record: RecordView?, _ trusted: Bool, _ tree: SourceTree,
        _ directory: SourceDirectory, _ place: SourcePlace, _ wholeLimit: UInt64, _ differs: inout Bool
    ) {
        switch node.kind {
        case .directory:
            guard let record, record.kind == .directory, Self.hasSameMetadata(node, record) else {
                differs = true
                return
            }
            if record.hasAttributes || !tree.directoryAttributes.isEmpty,
                record.attributes != (tree.directoryAttributes[tree.keyPath(place)] ?? [])
            {
                differs = true
            }
        case .symlink:
            if trusted, record?.kind == .symlink {
                reuses[Int(ordinal)] = true
            } else {
                smallReads.append(UInt32(truncatingIfNeeded: ordinal))
            }
        case .regular:
            if trusted, let kind = record?.kind, kind != .symlink, kind != .directory {
                reuses[Int(ordinal)] = true
                reusedFiles += 1
                if kind == .hardLink { differs = true }
                if node.links == 1, record?.linkCount != 1 { differs = true }
            } else if node.size <= wholeLimit {
                smallReads.append(UInt32(truncatingIfNeeded: ordinal))
            } else {
                largeReads.append(UInt32(truncatingIfNeeded: ordinal))
            }
        case .other: break
        }
    }

    private func linksAreUnchanged(
        _ ordinals: [(ordinal: UInt64, place: SourcePlace)], _ tree: SourceTree, _ parent: Snapshot
    ) throws(StoreError) -> Bool {
        for (ordinal, place) in ordinals {
            guard let group = links.group(of: ordinal), let known = try parent.place(ofOrdinal: ordinal)
            else {
                return false
            }
            let record = known.record
            guard record.linkCount == group.count, Self.hasSameMetadata(tree.node(place), record) else {
                return false
            }
            if group.first == ordinal {
                if record.kind == .hardLink { return false }
            } else {
                let target = tree.keyPath(tree.locate(group.first))
                guard record.kind == .hardLink, unsafe ByteString(record.target) == target else {
                    return false
                }
            }
        }
        return true
    }
}
