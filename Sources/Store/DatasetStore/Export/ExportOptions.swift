package import System

/// How a snapshot becomes files again.
package struct ExportOptions: Sendable {
    /// Where to. Made when it is not there; its parent must be.
    package var target: ByteString
    /// Replaces files that are in the way, and keeps what else is in the target.
    package var overwrites = false
    /// Also restores setuid and setgid bits, which give whoever runs the file the rights of its owner.
    package var restoresSpecialBits = false
    /// Gives files to their recorded owners; needs root.
    package var restoresOwners: Bool
    package var threads = 2

    package init(target: ByteString, restoresOwners: Bool) {
        self.target = target
        self.restoresOwners = restoresOwners
    }
}

/// What an export did.
package struct ExportResult: Sendable {
    package var files: UInt64 = 0
    package var directories: UInt64 = 0
    package var symlinks: UInt64 = 0
    package var hardLinks: UInt64 = 0
    /// Of files, with holes.
    package var bytes: UInt64 = 0
    /// Files that the store could not give back, and why; at most `CheckReport.listed` of them.
    package var failures: [StoreError] = []
    package var failedFiles: UInt64 = 0
    /// Extended attributes that the target's file system did not take.
    package var lostAttributes: UInt64 = 0
}
