import Chunking
import System

/// One name of the source directory: 88 bytes and its name.
struct SourceNode {
    var inode: UInt64
    var device: UInt64
    var size: UInt64
    var modifiedSeconds: Int64
    var changedSeconds: Int64
    var modifiedNanoseconds: UInt32
    var changedNanoseconds: UInt32
    var mode: UInt32
    var userID: UInt32
    var groupID: UInt32
    var links: UInt32
    /// In the arena's names, followed by a NUL.
    var nameOffset: UInt64
    var nameLength: UInt8

    init(_ status: FileStatus, nameOffset: UInt64, nameLength: UInt8) {
        inode = status.inode
        device = status.device
        size = status.size
        modifiedSeconds = status.modified.seconds
        modifiedNanoseconds = status.modified.nanoseconds
        changedSeconds = status.changed.seconds
        changedNanoseconds = status.changed.nanoseconds
        mode = status.mode
        userID = status.userID
        groupID = status.groupID
        links = UInt32(clamping: status.linkCount)
        self.nameOffset = nameOffset
        self.nameLength = nameLength
    }

    /// Takes over what the file said when it was read.
    mutating func update(_ status: FileStatus) {
        self = SourceNode(status, nameOffset: nameOffset, nameLength: nameLength)
    }

    var modified: Timestamp { Timestamp(seconds: modifiedSeconds, nanoseconds: modifiedNanoseconds) }
    var changed: Timestamp { Timestamp(seconds: changedSeconds, nanoseconds: changedNanoseconds) }

    var kind: FileStatus.Kind {
        switch mode & 0o170000 {
        case 0o100000: .regular
        case 0o040000: .directory
        case 0o120000: .symlink
        default: .other
        }
    }
}

/// Names and nodes that one thread found.
@safe final class SourceArena: @unchecked Sendable {
    // Sendable: filled by one thread; afterwards a node is written only by the one who reads its file.
    private(set) var nodes: UnsafeMutableBufferPointer<SourceNode>
    private(set) var count = 0
    private(set) var names: UnsafeMutableRawBufferPointer
    private(set) var nameBytes = 0

    init() {
        unsafe nodes = .allocate(capacity: 1 << 10)
        unsafe names = .allocate(byteCount: 16 << 10, alignment: 8)
    }

    deinit {
        unsafe nodes.deallocate()
        unsafe names.deallocate()
    }

    func appendName(_ nameWithNul: UnsafeRawBufferPointer) -> UInt64 {
        let offset = nameBytes
        if unsafe names.count - offset < nameWithNul.count {
            let larger = unsafe UnsafeMutableRawBufferPointer.allocate(
                byteCount: names.count * 2, alignment: 8)
            unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: names[..<offset]))
            unsafe names.deallocate()
            unsafe names = unsafe larger
        }
        unsafe UnsafeMutableRawBufferPointer(rebasing: names[offset...]).copyMemory(from: nameWithNul)
        nameBytes += nameWithNul.count
        return UInt64(offset)
    }

    func dropName(at offset: UInt64) { nameBytes = Int(offset) }

    func append(_ node: SourceNode) {
        if unsafe count == nodes.count {
            let larger = unsafe UnsafeMutableBufferPointer<SourceNode>.allocate(capacity: nodes.count * 2)
            _ = unsafe larger.moveInitialize(
                fromContentsOf: UnsafeMutableBufferPointer(rebasing: nodes[..<count]))
            unsafe nodes.deallocate()
            unsafe nodes = unsafe larger
        }
        unsafe nodes.initializeElement(at: count, to: node)
        count += 1
    }

    @inline(__always)
    func name(_ node: SourceNode) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(
            rebasing: names[Int(node.nameOffset)..<(Int(node.nameOffset) + Int(node.nameLength))])
    }

    /// The name with its NUL, valid once the scan is over and as long as the arena lives.
    func cName(_ node: SourceNode) -> UnsafePointer<CChar> {
        guard let base = unsafe names.baseAddress else { preconditionFailure("an arena has memory") }
        return unsafe UnsafePointer((base + Int(node.nameOffset)).assumingMemoryBound(to: CChar.self))
    }

    /// Brings the nodes from `first` on into name order.
    func sort(from first: Int) {
        guard count - first > 1 else { return }
        var added = unsafe UnsafeMutableBufferPointer(rebasing: nodes[first..<count])
        unsafe added.sort {
            unsafe KeyOrder.compare(name($0), name($1)) < 0
        }
    }
}

/// One directory: its children lie in a row in one arena, in name order.
struct SourceDirectory {
    /// Components joined by NUL; empty for the root.
    var keyPath: ByteString
    var arena: Int
    var first: Int
    var count: Int
    /// Ordinal of the first child among all entries, the root being 0. Set when the scan is over.
    var firstOrdinal: UInt64 = 0
    /// Index of the parent directory, and which of its children this one is; -1 for the root.
    var parent: Int
    var inode: UInt64 = 0
    var device: UInt64 = 0
}

/// What a scan found, in the manifest's order.
struct SourceTree {
    var arenas: [SourceArena]
    /// In the order of their key paths.
    var directories: [SourceDirectory]
    /// `user.*` attributes of directories that have some, by key path.
    var directoryAttributes: [ByteString: [ExtendedAttribute]]
    var root: FileStatus
    /// Entries with the root.
    var entryCount: UInt64
    var skippedSpecial: UInt64
    var problems: [SourceProblem]

    /// A child of a directory, by ordinal. O(log directories).
    func locate(_ ordinal: UInt64) -> SourcePlace {
        var low = 0
        var high = directories.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if directories[middle].firstOrdinal <= ordinal { low = middle } else { high = middle }
        }
        // Directories without children share their ordinal with the next one; the last of them has the child.
        let directory = directories[low]
        return SourcePlace(directory: low, index: directory.first + Int(ordinal - directory.firstOrdinal))
    }

    func arena(_ place: SourcePlace) -> SourceArena { arenas[directories[place.directory].arena] }
    func node(_ place: SourcePlace) -> SourceNode { unsafe arena(place).nodes[place.index] }
    func name(_ place: SourcePlace) -> ByteString {
        let arena = arena(place)
        return unsafe ByteString(arena.name(arena.nodes[place.index]))
    }

    func keyPath(_ place: SourcePlace) -> ByteString {
        ManifestEntry.keyPath(directory: directories[place.directory].keyPath, name: name(place))
    }

    func displayPath(_ place: SourcePlace) -> String {
        ManifestEntry.displayPath(keyPath: keyPath(place)).description
    }
}

/// Where a node is: directory in order, index in the directory's arena.
struct SourcePlace: Sendable {
    var directory: Int
    var index: Int
}

/// Something of the source that could not be read.
struct SourceProblem: Sendable {
    enum Kind: Sendable { case unreadable(Errno), changing, vanished, pathTooLong, nameTooLong }
    var path: String
    var kind: Kind
}
