import CFuse3
import DatasetFS
import Glibc
import System

/// Names and attributes: lookup, getattr, readlink, statfs, extended attributes.
extension SessionCore {
    /// For ever, as snapshots do not change; bounded, so that no arithmetic on it can overflow.
    static let validSeconds = Double(Int32.max)

    func lookUp(_ request: fuse_req_t, _ parent: Inode, _ name: UnsafePointer<CChar>?) {
        guard let name = unsafe Self.bounded(name, Limits.nameBytes) else {
            unsafe fuse_reply_err(request, ENAMETOOLONG)
            return
        }
        do throws(Errno) {
            // All zero is a negative entry: "no such name", to be remembered.
            var entry = fuse_entry_param()
            entry.entry_timeout = Self.validSeconds
            if let attributes = try unsafe operations.lookup(name, in: parent) {
                Self.fill(&entry, attributes)
            }
            unsafe fuse_reply_entry(request, &entry)
        } catch {
            unsafe fuse_reply_err(request, error.rawValue)
        }
    }

    func replyAttributes(_ request: fuse_req_t, _ inode: Inode) {
        do throws(Errno) {
            var status = Self.status(try operations.attributes(of: inode))
            unsafe fuse_reply_attr(request, &status, Self.validSeconds)
        } catch {
            unsafe fuse_reply_err(request, error.rawValue)
        }
    }

    func replyLink(_ request: fuse_req_t, _ inode: Inode) {
        unsafe replyOnce(request, otherwise: EIO) { answer throws(Errno) in
            try unsafe operations.readLink(inode) { target in unsafe answer(.bytes(target)) }
        }
    }

    func replyStatistics(_ request: fuse_req_t) {
        let totals = operations.totals
        var status = statvfs()
        status.f_bsize = 4096
        status.f_frsize = 4096
        status.f_blocks = UInt(totals.bytes / 4096 + (totals.bytes % 4096 == 0 ? 0 : 1))
        status.f_files = UInt(totals.entries)
        status.f_namemax = UInt(Limits.nameBytes)
        unsafe fuse_reply_statfs(request, &status)
    }

    func replyExtendedAttribute(
        _ request: fuse_req_t, _ inode: Inode, _ name: UnsafePointer<CChar>?, _ size: Int
    ) {
        guard let name = unsafe Self.bounded(name, Limits.attributeNameBytes) else {
            unsafe fuse_reply_err(request, ERANGE)
            return
        }
        unsafe replyOnce(request, otherwise: ENODATA) { answer throws(Errno) in
            try unsafe operations.extendedAttribute(name, of: inode) { unsafe answer(.sized($0, size)) }
        }
    }

    func replyExtendedAttributeNames(_ request: fuse_req_t, _ inode: Inode, _ size: Int) {
        unsafe replyOnce(request, otherwise: EIO) { answer throws(Errno) in
            try unsafe operations.extendedAttributeNames(of: inode) { unsafe answer(.sized($0, size)) }
        }
    }

    // MARK: - Replying

    @safe private enum Answer {
        case bytes(UnsafeRawBufferPointer)
        /// Bytes for a caller that named its buffer's size, 0 asking for the size alone (getxattr(2)).
        case sized(UnsafeRawBufferPointer, Int)
    }

    /// Replies exactly once, whatever `body` does: with its first answer, its error, or `otherwise`.
    private func replyOnce(
        _ request: fuse_req_t, otherwise: Int32, _ body: ((Answer) -> Void) throws(Errno) -> Void
    ) {
        var isAnswered = false
        var code = otherwise
        do throws(Errno) {
            try body { answer in
                if isAnswered { return }
                isAnswered = true
                switch answer {
                case .bytes(let bytes): unsafe Self.reply(request, bytes)
                case .sized(let bytes, 0): unsafe fuse_reply_xattr(request, bytes.count)
                case .sized(let bytes, let size) where bytes.count > size:
                    unsafe fuse_reply_err(request, ERANGE)
                case .sized(let bytes, _): unsafe Self.reply(request, bytes)
                }
            }
        } catch {
            code = error.rawValue
        }
        if !isAnswered { unsafe fuse_reply_err(request, code) }
    }

    static func reply(_ request: fuse_req_t, _ bytes: UnsafeRawBufferPointer) {
        unsafe fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    static func bounded(_ name: UnsafePointer<CChar>?, _ limit: Int) -> UnsafeRawBufferPointer? {
        guard let name = unsafe name else { return nil }
        let length = unsafe strnlen(name, limit + 1)
        return unsafe length <= limit ? UnsafeRawBufferPointer(start: name, count: length) : nil
    }

    // MARK: - Attributes as stat(2) has them

    static func fill(_ entry: inout fuse_entry_param, _ attributes: NodeAttributes) {
        entry.ino = attributes.inode.rawValue
        entry.attr = status(attributes)
        entry.attr_timeout = validSeconds
        entry.entry_timeout = validSeconds
    }

    static func status(_ attributes: NodeAttributes) -> stat {
        var status = stat()
        status.st_ino = UInt(attributes.inode.rawValue)
        status.st_mode = attributes.mode
        status.st_nlink = UInt(attributes.linkCount)
        status.st_uid = attributes.userID
        status.st_gid = attributes.groupID
        // The kernel takes sizes up to the largest off_t; a manifest that says more is wrong.
        let size = off_t(exactly: attributes.size) ?? off_t.max
        status.st_size = size
        status.st_blocks = size / 512 + (size % 512 == 0 ? 0 : 1)
        // Readers size their buffers by this. Small files are read whole in one page-sized buffer; for large
        // ones the buffer must not be what limits the throughput.
        status.st_blksize = size >= 1 << 20 ? 128 << 10 : 4096
        let time = timespec(
            tv_sec: Int(attributes.modified.seconds), tv_nsec: Int(attributes.modified.nanoseconds))
        status.st_mtim = time
        status.st_ctim = time
        status.st_atim = time
        return status
    }
}
