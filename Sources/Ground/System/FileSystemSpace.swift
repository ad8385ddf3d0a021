import Glibc

/// What statvfs(3) tells of a file system.
package struct FileSystemSpace: Hashable, Sendable {
    package var totalBytes: UInt64
    /// What this user may still write.
    package var availableBytes: UInt64
    /// 0 where the file system has no fixed number of inodes.
    package var totalInodes: UInt64
    package var availableInodes: UInt64

    package init(
        totalBytes: UInt64, availableBytes: UInt64, totalInodes: UInt64 = 0, availableInodes: UInt64 = 0
    ) {
        self.totalBytes = totalBytes
        self.availableBytes = availableBytes
        self.totalInodes = totalInodes
        self.availableInodes = availableInodes
    }

    package static func of(_ path: ByteString) throws(Errno) -> FileSystemSpace {
        var raw = statvfs()
        try unsafe path.withCString { path throws(Errno) in
            _ = try retryingOnInterrupt { unsafe statvfs(path, &raw) }
        }
        let block = UInt64(raw.f_frsize)
        func bytes(_ blocks: UInt64) -> UInt64 {
            let (product, overflows) = blocks.multipliedReportingOverflow(by: block)
            return overflows ? .max : product
        }
        return FileSystemSpace(
            totalBytes: bytes(UInt64(raw.f_blocks)), availableBytes: bytes(UInt64(raw.f_bavail)),
            totalInodes: UInt64(raw.f_files), availableInodes: UInt64(raw.f_favail))
    }
}
