package import Chunking
package import System

/// What to commit, and how.
package struct CommitOptions: Sendable {
    package var dataset: DatasetName
    package var branch: RefName
    /// The directory whose contents become the snapshot. A symlink here is followed, below it none is.
    package var source: ByteString
    package var message = ""
    package var metadata: [String: String] = [:]
    /// Threads that read, hash and compress. Nil: one for each core.
    package var threads: Int?
    /// zstd's level for new data, 1 to 19.
    package var level: Int32 = 3
    /// zstd's level for data stored as a difference from the parent's.
    ///
    /// Two TensorFlow wheels, the second one's growth and processor time: level 3 172 MB in 21 s, 6 160 MB in
    /// 29 s, 9 157 MB in 35 s; zstd alone 227 MB.
    package var prefixLevel: Int32 = 3
    /// Where the stat cache lies; nil: `$XDG_CACHE_HOME/kaml` or `~/.cache/kaml`. Without it every file is read.
    package var statCacheDirectory: ByteString?
    package var usesStatCache = true
    /// Leaves out what cannot be read instead of failing.
    package var skipsUnreadable = false
    /// Decodes every compressed frame before it is stored.
    package var verifiesFrames = false
    /// Called by one thread at a time, about ten times a second.
    package var progress: (@Sendable (CommitProgress) -> Void)?
    /// Called with what the user should know although the commit goes on.
    package var warning: (@Sendable (String) -> Void)?
    package var clock: any Clock = HostClock()
    package var random: any RandomSource = HostRandom()

    package init(dataset: DatasetName, branch: RefName = .main, source: ByteString) {
        self.dataset = dataset
        self.branch = branch
        self.source = source
    }
}

/// How far a commit is.
package struct CommitProgress: Sendable, Hashable {
    package enum Phase: String, Sendable { case scanning, storing, publishing }

    package var phase: Phase
    /// While scanning: entries found.
    package var entries: UInt64 = 0
    /// Files that must be read, and those that were.
    package var totalFiles: UInt64 = 0
    package var files: UInt64 = 0
    package var totalBytes: UInt64 = 0
    package var bytes: UInt64 = 0
}

/// What a commit did.
package struct CommitResult: Sendable {
    package var snapshot: ContentHash
    /// The log record's number; nil when nothing changed and none was written.
    package var sequence: UInt64?
    package var parent: ContentHash?
    package var statistics: SnapshotStatistics
    package var files: UInt64 { statistics.files }
    /// Plain bytes of the snapshot's files.
    package var bytes: UInt64 { statistics.bytes }
    /// Plain bytes of chunks that the store did not have.
    package var newBytes: UInt64 = 0
    /// Bytes the store grew by: packs and manifests.
    package var storedBytes: UInt64 = 0
    /// Of them, bytes of packs.
    package var packBytes: UInt64 = 0
    /// Files taken over from the parent without reading them.
    package var reusedFiles: UInt64 = 0
    package var readFiles: UInt64 = 0
    /// Chunks stored as a difference from one of the parent's.
    package var prefixFrames: UInt64 = 0
    /// Sockets, fifos and devices that were left out.
    package var skippedSpecial: UInt64 = 0
    /// Files and directories left out since they could not be read.
    package var skippedUnreadable: UInt64 = 0
    /// Files that changed while they were read and were read again.
    package var changedWhileRead: UInt64 = 0
    package var seconds: Double = 0

    package var nothingChanged: Bool { sequence == nil }
}
