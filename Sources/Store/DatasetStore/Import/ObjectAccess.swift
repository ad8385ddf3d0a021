import Chunking
import Glibc
import ObjectStore
import Synchronization
import System

/// Listed objects as the files of a tree, for an import that reads them all.
final class ObjectAccess: SourceAccess {
    /// What a file that was copied remembers of the object it came from, so that importing again need not read it.
    private static let attributeName: ByteString = "user.kaml.source"

    let objects: ObjectTree
    let source: any ObjectSource
    private let options: ImportOptions

    private struct State {
        /// Objects that changed since they were listed, by their place in the tree.
        var newer: [Int: SourceObject] = [:]
        /// What ends the import: the source cannot be read any more.
        var failure: ObjectStoreError?
    }
    private let state = Mutex(State())

    init(_ objects: ObjectTree, _ options: ImportOptions) {
        self.objects = objects
        self.options = options
        source = options.source
    }

    /// What kept objects from being read, other than that they changed.
    var failure: ObjectStoreError? { state.withLock { $0.failure } }

    // MARK: - The tree

    /// A node's inode number is its object's place.
    func makeTree() throws(StoreError) -> SourceTree {
        let arena = SourceArena()
        var ranks: [UInt32: Int] = [:]
        var directories: [SourceDirectory] = []
        for (rank, index) in objects.directoryOrder.enumerated() {
            let directory = objects.directory(index)
            ranks[index] = rank
            directories.append(
                SourceDirectory(
                    keyPath: directory.keyPath, arena: 0, first: 0, count: 0,
                    parent: rank == 0 ? -1 : ranks[directory.parent] ?? 0))
        }
        var rank = 0
        try objects.forEachEntry { path, entry throws(StoreError) in
            while directories[rank].keyPath != path {
                rank += 1
                directories[rank].first = arena.count
                directories[rank].firstOrdinal = UInt64(arena.count) + 1
            }
            append(entry, to: arena)
            directories[rank].count += 1
        }
        directories[0].firstOrdinal = 1
        for index in directories.indices where index > rank {
            directories[index].first = arena.count
            directories[index].firstOrdinal = UInt64(arena.count) + 1
        }
        return SourceTree(
            arenas: [arena], directories: directories, directoryAttributes: [:],
            root: status(directory: objects.rootModified), entryCount: UInt64(arena.count) + 1,
            skippedSpecial: 0, problems: [])
    }

    private func append(_ entry: ObjectTree.Entry, to arena: SourceArena) {
        switch entry {
        case .directory(let index):
            let directory = objects.directory(index)
            let name = Array(directory.keyPath.bytes[directory.nameStart...])
            append(name, status(directory: directory.modified), to: arena)
        case .object(let position):
            let object = objects.object(position)
            let status = status(position, size: object.size, modified: object.modified)
            unsafe append(Array(objects.listing.name(object)), status, to: arena)
        }
    }

    private func append(_ name: [UInt8], _ status: FileStatus, to arena: SourceArena) {
        let offset = unsafe (name + [0]).withUnsafeBytes { unsafe arena.appendName($0) }
        arena.append(
            SourceNode(status, nameOffset: offset, nameLength: UInt8(truncatingIfNeeded: name.count)))
    }

    private func status(directory modified: Timestamp?) -> FileStatus {
        let time = modified ?? Timestamp(seconds: 0, nanoseconds: 0)
        return FileStatus(
            device: 0, inode: 0, mode: 0o040000 | options.directoryMode & 0o7777, linkCount: 1,
            userID: options.userID, groupID: options.groupID, size: 0, blocks: 0, modified: time,
            changed: time)
    }

    fileprivate func status(_ position: Int, size: UInt64, modified: Timestamp) -> FileStatus {
        FileStatus(
            device: 0, inode: UInt64(position), mode: 0o100000 | options.fileMode & 0o7777, linkCount: 1,
            userID: options.userID, groupID: options.groupID, size: size, blocks: 0, modified: modified,
            changed: modified)
    }

    // MARK: - Files

    func open(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> any SourceFile {
        ObjectFile(self, Int(tree.node(place).inode))
    }

    func readSymlink(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> (target: ByteString, status: FileStatus) {
        // No object is a symlink.
        throw .invalid
    }

    func givenAttributes(of node: SourceNode) -> [ExtendedAttribute] {
        guard node.kind == .regular, node.size > 0 else { return [] }
        let identity = current(Int(node.inode)).object.identity(at: source.location)
        return [ExtendedAttribute(name: Self.attributeName, value: identity.bytes)]
    }

    func isRecorded(_ node: SourceNode, _ record: RecordView) -> Bool {
        guard node.size > 0 else { return record.kind == .empty }
        return record.hasAttributes && record.attributes == givenAttributes(of: node)
    }

    /// The object as it was last seen.
    fileprivate func current(_ position: Int) -> (object: ReferencedObject, modified: Timestamp) {
        if let newer = state.withLock({ $0.newer[position] }) {
            return (ReferencedObject(newer), newer.modified)
        }
        let listed = objects.object(position)
        return (objects.listing.referenced(listed), listed.modified)
    }

    /// Looks at an object again that could not be read as it was listed. `.stale` when it is to be read again.
    fileprivate func refresh(_ position: Int, after error: ObjectStoreError) -> Errno {
        guard error.code == .changed || error.code == .notFound || error.code == .truncated else {
            state.withLock { $0.failure = $0.failure ?? error }
            return .inputOutput
        }
        do throws(ObjectStoreError) {
            guard let now = try source.find(current(position).object.key) else { return .noEntry }
            guard now.size == 0 || ReferencedObject(now).isWithinLimits else { return .invalid }
            state.withLock { $0.newer[position] = now }
            return .stale
        } catch {
            state.withLock { $0.failure = $0.failure ?? error }
            return .inputOutput
        }
    }
}

/// One object, read as a file of one version.
private final class ObjectFile: SourceFile {
    /// What a reader that goes from start to end gets with one request.
    private static let window = 8 << 20

    private struct Window {
        var start: UInt64 = 0
        var bytes: [UInt8] = []
    }

    private let access: ObjectAccess
    private let position: Int
    private let object: ReferencedObject
    private let modified: Timestamp
    private let ahead = Mutex(Window())

    init(_ access: ObjectAccess, _ position: Int) {
        self.access = access
        self.position = position
        (object, modified) = access.current(position)
    }

    func status() throws(Errno) -> FileStatus {
        access.status(position, size: object.size, modified: modified)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        guard offset < object.size, buffer.count > 0 else { return 0 }
        if access.failure != nil { throw .inputOutput }
        let count = Int(min(UInt64(buffer.count), object.size - offset))
        var filled = 0
        do throws(ObjectStoreError) {
            try unsafe access.source.read(object.key, object.version, offset..<(offset + UInt64(count))) {
                piece in
                let taken = min(piece.count, count - filled)
                unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<(filled + taken)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<taken]))
                filled += taken
                return filled < count
            }
            guard filled == count else {
                throw ObjectStoreError(
                    .truncated, .read, key: object.key.description, location: access.source.location)
            }
        } catch { throw access.refresh(position, after: error) }
        return count
    }

    /// Cuts that follow the content look at the same bytes again and again, which must not be a request each.
    func readNext(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        guard offset < object.size else { return 0 }
        let count = Int(min(UInt64(buffer.count), object.size - offset))
        var window = ahead.withLock { window in
            defer { window = Window() }
            return window
        }
        defer { ahead.withLock { $0 = window } }
        let end = window.start + UInt64(window.bytes.count)
        if offset < window.start || offset + UInt64(count) > end {
            try refill(&window, from: offset, count)
        }
        let skip = Int(offset - window.start)
        unsafe window.bytes.withUnsafeBytes { bytes in
            unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[skip..<(skip + count)]))
        }
        return count
    }

    /// Keeps what it has from `offset` on, and reads on from there.
    private func refill(_ window: inout Window, from offset: UInt64, _ count: Int) throws(Errno) {
        let end = window.start + UInt64(window.bytes.count)
        let kept = offset >= window.start && offset < end ? Int(end - offset) : 0
        let length = Int(min(UInt64(max(Self.window, count)), object.size - offset))
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.replaceSubrange(..<kept, with: window.bytes.suffix(kept))
        let outcome = unsafe bytes.withUnsafeMutableBytes { bytes in
            Result { () throws(Errno) in
                try unsafe read(
                    into: UnsafeMutableRawBufferPointer(rebasing: bytes[kept...]), at: offset + UInt64(kept))
            }
        }
        _ = try outcome.get()
        window = Window(start: offset, bytes: bytes)
    }

    func nextData(from offset: UInt64) throws(Errno) -> UInt64? { offset < object.size ? offset : nil }
    func nextHole(from offset: UInt64) throws(Errno) -> UInt64? { object.size }
    func attributes() throws(Errno) -> [ExtendedAttribute] { [] }
}
