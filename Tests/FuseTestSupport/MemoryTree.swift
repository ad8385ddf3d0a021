package import DatasetFS
import Glibc
import Synchronization
package import System

/// A small file system in memory, with the answers of a snapshot: what the mount tests serve.
package final class MemoryTree: InodeOperations, @unchecked Sendable {
    // Sendable: nodes are built before the tree is mounted; what changes later is behind `state`.
    package enum Content {
        case directory([(name: ByteString, inode: UInt64)])
        /// Bytes that live as long as the process.
        case file(UnsafeRawBufferPointer)
        case link(ByteString)
    }

    private struct Node {
        var content: Content
        var parent: UInt64
        var attributes: NodeAttributes
        var extendedAttributes: [(name: ByteString, value: ByteString)] = []
        var names: [ByteString: UInt64] = [:]
    }

    private struct State {
        var descriptors: [UInt64: Int32] = [:]
        var opens: [String: Int] = [:]
        var deferred: Set<UInt64> = []
        var readError: [UInt64: Errno] = [:]
        var pieceBytes: [UInt64: Int] = [:]
        var held: Set<UInt64> = []
    }

    private var nodes: [Node] = []
    private let state = Mutex(State())
    private let holds = Monitor(false)

    package init() {
        _ = append(.directory([]), mode: UInt32(S_IFDIR) | 0o755, size: 0, parent: 1)
    }

    // MARK: - Building

    private func append(_ content: Content, mode: UInt32, size: Int, parent: UInt64) -> UInt64 {
        let inode = UInt64(nodes.count + 1)
        nodes.append(
            Node(
                content: content, parent: parent,
                attributes: NodeAttributes(
                    inode: Inode(rawValue: inode), mode: mode, linkCount: 1, userID: 0, groupID: 0,
                    size: UInt64(size), modified: Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789))
            ))
        return inode
    }

    private func add(_ content: Content, _ name: ByteString, in parent: UInt64, mode: UInt32, size: Int)
        -> UInt64
    {
        let inode = append(content, mode: mode, size: size, parent: parent)
        let index = Int(parent - 1)
        if case .directory(var entries) = nodes[index].content {
            entries.append((name, inode))
            nodes[index].content = .directory(entries)
            nodes[index].names[name] = inode
        }
        return inode
    }

    @discardableResult
    package func directory(_ name: ByteString, in parent: UInt64 = 1) -> UInt64 {
        add(.directory([]), name, in: parent, mode: UInt32(S_IFDIR) | 0o755, size: 0)
    }

    @discardableResult
    package func file(_ name: ByteString, _ bytes: UnsafeRawBufferPointer, in parent: UInt64 = 1) -> UInt64 {
        add(.file(bytes), name, in: parent, mode: UInt32(S_IFREG) | 0o644, size: bytes.count)
    }

    /// A file whose bytes are copied and never freed.
    @discardableResult
    package func file(_ name: ByteString, _ bytes: [UInt8], in parent: UInt64 = 1) -> UInt64 {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 4096)
        copy.copyBytes(from: bytes)
        return file(name, UnsafeRawBufferPointer(rebasing: copy[..<bytes.count]), in: parent)
    }

    @discardableResult
    package func link(_ name: ByteString, to target: ByteString, in parent: UInt64 = 1) -> UInt64 {
        add(.link(target), name, in: parent, mode: UInt32(S_IFLNK) | 0o777, size: target.count)
    }

    package func set(_ name: ByteString, _ value: ByteString, of inode: UInt64) {
        nodes[Int(inode - 1)].extendedAttributes.append((name, value))
    }

    /// Attributes as given: for sizes and modes that no builder makes.
    package func change(_ inode: UInt64, _ body: (inout NodeAttributes) -> Void) {
        body(&nodes[Int(inode - 1)].attributes)
    }

    // MARK: - Turning knobs while mounted

    /// From the next open on the file is passed through as this descriptor; `nil` for cached.
    package func passThrough(_ inode: UInt64, _ descriptor: Int32?) {
        state.withLock { $0.descriptors[inode] = descriptor }
    }

    /// Reads of the file are answered by another thread, a little later.
    package func deferReads(of inode: UInt64) { state.withLock { _ = $0.deferred.insert(inode) } }
    /// Reads of the file keep the thread that serves them, as a store does that does not answer, until `letReadsGo`.
    package func holdReads(of inode: UInt64) {
        state.withLock { _ = $0.held.insert(inode) }
        holds.withLock { $0 = true }
    }
    package func letReadsGo() {
        state.withLock { $0.held = [] }
        holds.withLock { $0 = false }
        holds.wake()
    }
    package func failReads(of inode: UInt64, with error: Errno?) {
        state.withLock { $0.readError[inode] = error }
    }

    /// Reads of the file are answered in segments of this length.
    package func splitReads(of inode: UInt64, every bytes: Int) {
        state.withLock { $0.pieceBytes[inode] = bytes }
    }

    /// Calls by kind: "open cached", "open passthrough", "release cached", "release passthrough".
    package var calls: [String: Int] { state.withLock { $0.opens } }

    // MARK: - InodeOperations

    private func node(_ inode: Inode) throws(Errno) -> Node {
        guard inode.rawValue >= 1, inode.rawValue <= UInt64(nodes.count) else { throw .stale }
        return nodes[Int(inode.rawValue - 1)]
    }

    package func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode) throws(Errno) -> NodeAttributes? {
        guard let inode = try node(parent).names[ByteString(name)] else { return nil }
        return try node(Inode(rawValue: inode)).attributes
    }

    package func attributes(of inode: Inode) throws(Errno) -> NodeAttributes { try node(inode).attributes }

    package func readLink(_ inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void) throws(Errno) {
        guard case .link(let target) = try node(inode).content else { throw .invalid }
        target.bytes.withUnsafeBytes(body)
    }

    package func list(
        _ directory: Inode, from cookie: UInt64, _ body: (borrowing ListedEntry) -> Bool
    ) throws(Errno) {
        let own = try node(directory)
        guard case .directory(let entries) = own.content else { throw .notDirectory }
        let parent = try node(Inode(rawValue: own.parent))
        var index = cookie
        while index < UInt64(entries.count + 2) {
            let (name, attributes): (ByteString, NodeAttributes) =
                switch index {
                case 0: (".", own.attributes)
                case 1: ("..", parent.attributes)
                default:
                    (entries[Int(index - 2)].name, nodes[Int(entries[Int(index - 2)].inode - 1)].attributes)
                }
            index += 1
            let goesOn = name.bytes.withUnsafeBytes {
                body(ListedEntry(name: $0, attributes: attributes, nextCookie: index))
            }
            if !goesOn { return }
        }
    }

    package func open(_ inode: Inode) throws(Errno) -> OpenDecision {
        _ = try node(inode)
        return state.withLock { state in
            if let descriptor = state.descriptors[inode.rawValue] {
                state.opens["open passthrough", default: 0] += 1
                return .passthrough(descriptor: descriptor)
            }
            state.opens["open cached", default: 0] += 1
            return .cached
        }
    }

    package func release(_ inode: Inode, passthrough: Bool) {
        state.withLock { $0.opens[passthrough ? "release passthrough" : "release cached", default: 0] += 1 }
    }

    package func read(_ inode: Inode, offset: UInt64, length: Int, completion: ReadCompletion) {
        let number = inode.rawValue
        guard number >= 1, number <= UInt64(nodes.count),
            case .file(let bytes) = nodes[Int(number - 1)].content
        else {
            completion.deliver(completion.context, nil, 0, EISDIR)
            return
        }
        let (isDeferred, error, piece) = state.withLock {
            ($0.deferred.contains(number), $0.readError[number], $0.pieceBytes[number])
        }
        if state.withLock({ $0.held.contains(number) }) { holds.wait { $0 ? nil : () } }
        if let piece {
            Self.answerInPieces(bytes, offset, length, piece, completion)
            return
        }
        let file = FileBytes(bytes: bytes)
        if isDeferred {
            try? Thread(name: "deferred") {
                usleep(20_000)
                Self.answer(file, offset, length, error, completion)
            }.detach()
        } else {
            Self.answer(file, offset, length, error, completion)
        }
    }

    private struct FileBytes: @unchecked Sendable {
        // Sendable: never freed.
        let bytes: UnsafeRawBufferPointer
    }

    private static func answer(
        _ file: FileBytes, _ offset: UInt64, _ length: Int, _ error: Errno?, _ completion: ReadCompletion
    ) {
        if let error {
            completion.deliver(completion.context, nil, 0, error.rawValue)
            return
        }
        let bytes = file.bytes
        let start = min(Int(clamping: offset), bytes.count)
        let end = start + min(length, bytes.count - start)
        guard let base = bytes.baseAddress, end > start else {
            completion.deliver(completion.context, nil, 0, 0)
            return
        }
        // In two pieces where possible, so that both ways to reply are walked.
        let middle = end - start > 8192 && offset % 8192 == 0 ? start + 4096 : end
        let mutable = UnsafeMutableRawPointer(mutating: base)
        let segments = (
            ReadSegment(base: mutable + start, length: middle - start),
            ReadSegment(base: mutable + middle, length: end - middle)
        )
        withUnsafeBytes(of: segments) {
            completion.deliver(completion.context, $0.baseAddress, middle == end ? 1 : 2, 0)
        }
    }

    private static func answerInPieces(
        _ bytes: UnsafeRawBufferPointer, _ offset: UInt64, _ length: Int, _ piece: Int,
        _ completion: ReadCompletion
    ) {
        let start = min(Int(clamping: offset), bytes.count)
        let end = start + min(length, bytes.count - start)
        let segments = stride(from: start, to: end, by: piece).map { position in
            ReadSegment(
                base: UnsafeMutableRawPointer(mutating: bytes.baseAddress).map { $0 + position },
                length: min(piece, end - position))
        }
        segments.withUnsafeBytes {
            completion.deliver(completion.context, $0.baseAddress, segments.count, 0)
        }
    }

    package func extendedAttribute(
        _ name: UnsafeRawBufferPointer, of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let wanted = ByteString(name)
        guard let found = try node(inode).extendedAttributes.first(where: { $0.name == wanted }) else {
            throw .noData
        }
        found.value.bytes.withUnsafeBytes(body)
    }

    package func extendedAttributeNames(
        of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        var names: [UInt8] = []
        for attribute in try node(inode).extendedAttributes { names += attribute.name.bytes + [0] }
        names.withUnsafeBytes(body)
    }

    package var totals: FileSystemTotals {
        FileSystemTotals(
            bytes: nodes.reduce(0) { $0 + $1.attributes.size }, entries: UInt64(nodes.count))
    }
}
