package import System

/// What `kaml doctor` looks at on a machine, as values: judging them needs no machine.
package struct HostFacts: Sendable {
    /// How opening a file for use went.
    package enum Access: Sendable, Hashable {
        case ok
        case failed(Errno)
    }

    package struct Disk: Sendable, Hashable {
        package var path: ByteString
        /// statfs(2)'s magic number.
        package var type: UInt64
        package var totalBytes: UInt64
        package var freeBytes: UInt64
        /// 0 in all where the file system makes inodes as it goes (btrfs).
        package var totalInodes: UInt64
        package var freeInodes: UInt64
        package var writing: Access

        package init(
            path: ByteString, type: UInt64, totalBytes: UInt64, freeBytes: UInt64, totalInodes: UInt64,
            freeInodes: UInt64, writing: Access
        ) {
            self.path = path
            self.type = type
            self.totalBytes = totalBytes
            self.freeBytes = freeBytes
            self.totalInodes = totalInodes
            self.freeInodes = freeInodes
            self.writing = writing
        }
    }

    package var kernelRelease = ""
    package var isRoot = false
    package var hasSystemAdministration = false
    package var fuseDevice = Access.ok
    /// Where fusermount3 is; nil when it was not found.
    package var mountHelper: ByteString?
    package var helperIsSetuid = false
    package var allowsOtherUsers = false
    package var descriptorLimit: UInt64 = 0
    package var descriptorHardLimit: UInt64 = 0
    /// Nil when the cache directory and all above it cannot be looked at.
    package var cacheDisk: Disk?
    package var cacheDirectory: ByteString = ""
    /// Whether there is a cache in it that is encrypted.
    package var cacheIsEncrypted = false
    package var now = Timestamp(seconds: 0, nanoseconds: 0)

    package init() {}
}
