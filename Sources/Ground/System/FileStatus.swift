import Glibc

/// Seconds and nanoseconds since the epoch; the seconds may be negative.
package struct Timestamp: Hashable, Sendable, Comparable {
    package var seconds: Int64
    package var nanoseconds: UInt32

    package init(seconds: Int64, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }
}

/// What stat(2) tells about a file.
package struct FileStatus: Hashable, Sendable {
    package enum Kind: UInt8, Sendable { case regular, directory, symlink, other }

    package var device: UInt64
    package var inode: UInt64
    /// Type and permission bits, as in `st_mode`.
    package var mode: UInt32
    package var linkCount: UInt64
    package var userID: UInt32
    package var groupID: UInt32
    package var size: UInt64
    /// 512-byte blocks that are really allocated.
    package var blocks: UInt64
    package var modified: Timestamp
    package var changed: Timestamp

    package var kind: Kind {
        switch mode & UInt32(S_IFMT) {
        case UInt32(S_IFREG): .regular
        case UInt32(S_IFDIR): .directory
        case UInt32(S_IFLNK): .symlink
        default: .other
        }
    }

    package init(
        device: UInt64, inode: UInt64, mode: UInt32, linkCount: UInt64, userID: UInt32, groupID: UInt32,
        size: UInt64, blocks: UInt64, modified: Timestamp, changed: Timestamp
    ) {
        self.device = device
        self.inode = inode
        self.mode = mode
        self.linkCount = linkCount
        self.userID = userID
        self.groupID = groupID
        self.size = size
        self.blocks = blocks
        self.modified = modified
        self.changed = changed
    }

    init(_ raw: stat) {
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
        mode = raw.st_mode
        linkCount = UInt64(raw.st_nlink)
        userID = raw.st_uid
        groupID = raw.st_gid
        size = UInt64(max(0, raw.st_size))
        blocks = UInt64(max(0, raw.st_blocks))
        modified = Timestamp(
            seconds: Int64(raw.st_mtim.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: raw.st_mtim.tv_nsec))
        changed = Timestamp(
            seconds: Int64(raw.st_ctim.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: raw.st_ctim.tv_nsec))
    }

    /// fstatat(2) that does not follow a symlink in the last component.
    package static func of(_ name: UnsafePointer<CChar>, in directory: Int32) throws(Errno) -> FileStatus {
        var raw = stat()
        if unsafe fstatat(directory, name, &raw, AT_SYMLINK_NOFOLLOW) < 0 { throw Errno.last }
        return FileStatus(raw)
    }
}
