import Chunking
import ObjectStore
import System

/// An import that reads every object and stores it, by the same way as a commit's files.
struct ImportCopy {
    /// Objects read at once: enough to cover the latency of most stores, in about 120 MB.
    private static let threads = 8

    let store: Store
    let options: ImportOptions

    /// Objects that the parent's snapshot has from the same version are not read again.
    func run(
        _ objects: ObjectTree, parent: Snapshot?, progress: @escaping @Sendable (CommitProgress) -> Void,
        _ result: inout ImportResult
    ) throws(StoreError) {
        let access = ObjectAccess(objects, options)
        let tree = try access.makeTree()
        let comparison = try Comparison(
            tree, parent: parent, cache: nil, access,
            wholeLimit: UInt64(store.configuration.chunking.wholeLimit))
        result.reusedObjects = comparison.reusedFiles
        result.newObjects = UInt64(comparison.smallReads.count + comparison.largeReads.count)
        if let parent, comparison.isUnchanged {
            result.snapshot = parent.id
            result.statistics = parent.statistics
            return
        }
        var commit = CommitOptions(dataset: options.dataset, branch: options.branch, source: "")
        commit.level = options.level
        commit.prefixLevel = options.level
        commit.clock = options.clock
        commit.random = options.random
        commit.progress = progress
        let storing = TreeStoring(
            store: store, options: commit, threads: options.threads ?? Self.threads,
            meter: CommitMeter(commit))
        var done = CommitResult(snapshot: .zero, statistics: SnapshotStatistics())
        done.readFiles = result.newObjects
        do throws(StoreError) {
            // No time is trusted: objects are told apart by their versions.
            let stored = try storing.run(
                tree, comparison, parent: parent, access, trustLimit: Timestamp(seconds: 0, nanoseconds: 0),
                &done)
            result.snapshot = stored.manifest.snapshot
            result.statistics = stored.manifest.statistics
            result.storedBytes = done.packBytes + stored.manifest.storedLength
        } catch {
            // The source's own words say more than that files could not be read.
            if let failure = access.failure { throw StoreError(failure) }
            guard error.code == .sourceChanged else { throw error }
            var changed = error
            changed.remedy = "Run the import again when nobody writes to the source"
            throw changed
        }
        result.newBytes = done.newBytes
    }
}
