package import System

/// An inode number: a pure function of the snapshot (the entry's ordinal plus one; the root is 1), so a
/// restarted agent answers for the numbers its predecessor gave out.
package struct Inode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static let root = Inode(rawValue: 1)
}

/// What stat(2) shows for an entry of a snapshot.
package struct NodeAttributes: Sendable {
    package var inode: Inode
    /// Type and permission bits, as in `st_mode`.
    package var mode: UInt32
    package var linkCount: UInt32
    package var userID: UInt32
    package var groupID: UInt32
    package var size: UInt64
    package var modified: Timestamp

    package init(
        inode: Inode, mode: UInt32, linkCount: UInt32, userID: UInt32, groupID: UInt32, size: UInt64,
        modified: Timestamp
    ) {
        self.inode = inode
        self.mode = mode
        self.linkCount = linkCount
        self.userID = userID
        self.groupID = groupID
        self.size = size
        self.modified = modified
    }
}

/// How a file may be read after open(2).
package enum OpenDecision: Sendable {
    /// Reads come to the agent; the kernel keeps the pages for good.
    case cached
    /// The kernel reads this descriptor itself (FUSE passthrough). It stays open as long as the file
    /// system lives, and holds the whole file byte for byte, verified.
    case passthrough(descriptor: Int32)
}

/// A read's answer, called exactly once: on the calling thread for a hit, on a fetch thread for a miss.
///
/// Plain pointers, so that a hit costs no allocation and no reference counting.
@safe package struct ReadCompletion: @unchecked Sendable {
    // Sendable: whoever makes it vouches that `context` may be completed from any thread.

    /// `count` `ReadSegment`s in file order (shorter in all than asked means end of file), or an errno and no segments. In
    /// place of an errno `fetched` says that some of the bytes were not at hand, 0 that all were.
    /// The bytes are valid during the call only.
    package typealias Deliver =
        @convention(c) (
            _ context: UnsafeMutableRawPointer, _ segments: UnsafeRawPointer?, _ count: Int,
            _ errno: Int32
        ) -> Void

    package static var fetched: Int32 { -1 }

    package let context: UnsafeMutableRawPointer
    package let deliver: Deliver
    /// Whether the caller has other reads to begin, so that no miss may keep it.
    package let isOneOfMany: Bool

    package init(context: UnsafeMutableRawPointer, isOneOfMany: Bool = false, deliver: Deliver) {
        unsafe self.context = unsafe context
        unsafe self.deliver = unsafe deliver
        self.isOneOfMany = isOneOfMany
    }
}

/// One run of bytes of an answer; laid out as `struct iovec`.
@safe package struct ReadSegment: @unchecked Sendable {
    // Sendable: points into a mapping or buffer that outlives the call that is given it.
    package var base: UnsafeMutableRawPointer?
    package var length: Int

    package init(base: UnsafeMutableRawPointer?, length: Int) {
        unsafe self.base = unsafe base
        self.length = length
    }
}

/// A directory entry as `list` shows it. `name` is valid during the call only.
@safe package struct ListedEntry: ~Copyable {
    package let name: UnsafeRawBufferPointer
    package let attributes: NodeAttributes
    /// Where to go on after this entry.
    package let nextCookie: UInt64

    package init(name: UnsafeRawBufferPointer, attributes: NodeAttributes, nextCookie: UInt64) {
        unsafe self.name = unsafe name
        self.attributes = attributes
        self.nextCookie = nextCookie
    }
}

/// Totals for statfs(2).
package struct FileSystemTotals: Sendable {
    package var bytes: UInt64
    package var entries: UInt64

    package init(bytes: UInt64, entries: UInt64) {
        self.bytes = bytes
        self.entries = entries
    }
}

/// A read-only file system by inode number: what a mount asks, with no FUSE types in it.
///
/// Synchronous, callable from any thread at once, and free of per-inode state but for the open counts that
/// passthrough needs. Errors are errno values, since the kernel takes nothing else; the implementation
/// logs what lies behind one before it throws.
package protocol InodeOperations: AnyObject, Sendable {
    /// `nil` when the directory has no such name (the kernel may remember that for good).
    func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode) throws(Errno) -> NodeAttributes?
    func attributes(of inode: Inode) throws(Errno) -> NodeAttributes
    func readLink(_ inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void) throws(Errno)
    /// Entries of a directory from `cookie` (0 at the start), `.` and `..` first, until `body` returns false;
    /// the entry that `body` refused is given again when listing goes on from the previous cookie.
    func list(
        _ directory: Inode, from cookie: UInt64, _ body: (borrowing ListedEntry) -> Bool
    ) throws(Errno)
    func open(_ inode: Inode) throws(Errno) -> OpenDecision
    /// Undoes one `open` of the decision's kind.
    func release(_ inode: Inode, passthrough: Bool)
    func read(_ inode: Inode, offset: UInt64, length: Int, completion: ReadCompletion)
    /// The value of an extended attribute, `user.kaml.*` among them; ENODATA when there is none.
    func extendedAttribute(
        _ name: UnsafeRawBufferPointer, of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)
    /// The NUL-terminated names of the extended attributes, one after the other; without `user.kaml.*`.
    func extendedAttributeNames(
        of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)
    var totals: FileSystemTotals { get }
    /// Since when the oldest read waits that is to be answered from another thread, in monotonic nanoseconds.
    var oldestWaitingRead: UInt64? { get }
}

extension InodeOperations {
    package var oldestWaitingRead: UInt64? { nil }
}
