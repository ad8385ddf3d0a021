package import Chunking
package import ObjectStore
package import System

/// What to import, and how.
package struct ImportOptions: Sendable {
    package var dataset: DatasetName
    package var branch: RefName
    package var source: any ObjectSource
    /// Made when it is not there; one that names another commit is a conflict.
    package var tag: RefName?
    package var message = ""
    package var metadata: [String: String] = [:]
    /// Permission bits of files and directories, which a bucket does not know.
    package var fileMode: UInt32 = 0o644
    package var directoryMode: UInt32 = 0o755
    package var userID: UInt32 = 0
    package var groupID: UInt32 = 0
    /// Reads all objects and stores them, instead of referring to them.
    package var copies = false
    /// Makes an empty snapshot after one that has files.
    package var allowsEmpty = false
    /// Threads that read objects when copying.
    package var threads: Int?
    /// zstd's level for copied data, 1 to 19.
    package var level: Int32 = 3
    /// Called by one thread at a time, about ten times a second.
    package var progress: (@Sendable (ImportProgress) -> Void)?
    package var clock: any Clock = HostClock()
    package var random: any RandomSource = HostRandom()

    package init(dataset: DatasetName, branch: RefName = .main, source: any ObjectSource) {
        self.dataset = dataset
        self.branch = branch
        self.source = source
    }
}

/// How far an import is.
package struct ImportProgress: Sendable, Hashable {
    package enum Phase: String, Sendable { case listing, referring, copying, publishing }

    package var phase = Phase.listing
    /// Objects listed so far, and their bytes.
    package var objects: UInt64 = 0
    package var bytes: UInt64 = 0
    /// When copying: what must be read, and what was.
    package var totalBytes: UInt64 = 0
    package var copiedBytes: UInt64 = 0

    package init() {}
}

/// What an import did.
package struct ImportResult: Sendable {
    package var snapshot: ContentHash
    /// The log record's number; nil when nothing changed and none was written.
    package var sequence: UInt64?
    package var parent: ContentHash?
    package var statistics: SnapshotStatistics
    /// What the source listed.
    package var listedObjects: UInt64 = 0
    package var listedBytes: UInt64 = 0
    /// Objects that the branch did not have in this version, and their bytes.
    package var newObjects: UInt64 = 0
    package var newBytes: UInt64 = 0
    /// Objects that were taken over from the parent as they are.
    package var reusedObjects: UInt64 = 0
    /// Packs made.
    package var packs: UInt64 = 0
    /// Bytes the store grew by.
    package var storedBytes: UInt64 = 0
    /// Objects that could not become files.
    package var skipped = SkippedKeys()
    /// Keys with control characters: they are kept, but a terminal may not show them as they are.
    package var oddKeys = KeySample()
    /// Objects that the source has in an archive: they are files whose reading fails until somebody restores them.
    package var archived = KeySample()
    package var seconds: Double = 0

    package var nothingChanged: Bool { sequence == nil }
}
