package import Chunking

/// How snapshots go from one store to another.
package struct TransferOptions: Sendable {
    /// The dataset's name in the target; nil: the one it has.
    package var dataset: DatasetName?
    /// The branch in the target; nil: the one that the reference names, or that the commit was made on.
    package var branch: RefName?
    /// Of each history at most so many commits that the target lacks; nil: all of them.
    package var depth: Int?
    /// Also the tags of the commits that the target then has.
    package var movesTags = false
    /// Fails where the target has the dataset already.
    package var mustBeNew = false
    /// Packs that are copied side by side, each with about 16 MiB of memory and what the target's writer takes.
    package var threads = 4

    package init() {}
}

/// What a transfer did.
package struct TransferResult: Sendable {
    /// A branch of the target.
    package struct Branch: Sendable {
        package var name: RefName
        /// Where it stands now.
        package var snapshot: ContentHash
        package var sequence: UInt64
        /// Commits that it got.
        package var commits: UInt64 = 0
        /// Commits that it has beyond the wanted one.
        package var ahead: UInt64 = 0
    }

    /// Objects of one kind.
    package struct Objects: Sendable, Hashable {
        package var copied: UInt64 = 0
        package var copiedBytes: UInt64 = 0
        /// Present in the target already.
        package var skipped: UInt64 = 0
        package var skippedBytes: UInt64 = 0

        package init() {}
    }

    /// Imported data, which lies in somebody else's objects and stays there.
    package struct References: Sendable, Hashable {
        package var packs: UInt64 = 0
        /// Plain bytes that the packs refer to.
        package var bytes: UInt64 = 0
        /// URLs.
        package var sources: Set<String> = []
    }

    package var dataset: DatasetName
    package var branches: [Branch] = []
    package var packs = Objects()
    /// Roots and shards; of those skipped the bytes are not asked for.
    package var manifests = Objects()
    /// Of the packs that the snapshots need, those that only refer to data.
    package var references = References()
    /// Tags that were made.
    package var tags: [RefName] = []
    /// Tags that were left out: the target has the name for something else.
    package var takenTags: [RefName] = []
    package var seconds: Double = 0

    package var nothingChanged: Bool { branches.allSatisfy { $0.commits == 0 } && tags.isEmpty }
}
