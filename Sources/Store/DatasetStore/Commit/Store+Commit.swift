import Chunking
import Glibc
import ObjectStore
import System

extension Store {
    /// Makes a snapshot of a directory and puts it at the head of a branch.
    ///
    /// Publishes packs, then manifests, then the log record, so that it can be killed anywhere: what it stored
    /// until then is found by the next commit. Throws `.conflict` when somebody else committed to the branch
    /// meanwhile, `.sourceChanged` for files that would not hold still, `.inputOutput` naming what could not be
    /// read.
    package func commit(_ options: CommitOptions) throws(StoreError) -> CommitResult {
        do throws(StoreError) {
            return try CommitRun(self, options).run()
        } catch { throw error.at(dataset: options.dataset.text) }
    }
}

/// One commit from scan to log record.
private struct CommitRun {
    /// Times of files are no finer than this on every file system and clock in use (FAT: 2 s).
    private static let racyMargin: Int64 = 2

    let store: Store
    let options: CommitOptions
    let threads: Int
    let meter: CommitMeter
    private var storing: TreeStoring {
        TreeStoring(store: store, options: options, threads: threads, meter: meter)
    }

    init(_ store: Store, _ options: CommitOptions) {
        self.store = store
        self.options = options
        threads = max(1, min(256, options.threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        meter = CommitMeter(options)
    }

    func run() throws(StoreError) -> CommitResult {
        let started = options.clock.monotonicNanoseconds()
        var state = try store.state()
        let head = state.head(of: options.branch, in: options.dataset)
        let parentRecord = head.map { Commit.Parent(sequence: $0.sequence, snapshot: $0.commit.snapshot) }
        try checkBranch(state, parentRecord)
        // A branch without commits still has the dataset's newest snapshot to resemble.
        let resembled = head ?? state.datasets[options.dataset]?.commits.last.flatMap { state.commits[$0] }
        let parent = try resembled.map { commit throws(StoreError) in
            try store.snapshot(commit.commit.snapshot)
        }

        let root = try openSource()
        let scanned = try scan(root)
        try storing.report(scanned.tree.problems)
        let key = StatCache.key(
            storeID: store.configuration.storeID, dataset: options.dataset, source: options.source)
        let cachePath =
            options.usesStatCache ? StatCache.path(directory: options.statCacheDirectory, key: key) : nil
        let access = DirectoryAccess(root: root.descriptor.rawValue)
        let comparison = try compare(scanned.tree, access, parent, cachePath, key)

        var result = CommitResult(snapshot: .zero, statistics: SnapshotStatistics())
        result.parent = head?.commit.snapshot
        result.reusedFiles = comparison.reusedFiles
        result.skippedSpecial = scanned.tree.skippedSpecial
        result.skippedUnreadable = UInt64(scanned.tree.problems.count)
        result.readFiles = UInt64(comparison.smallReads.count + comparison.largeReads.count)
        if let parent, comparison.isUnchanged, scanned.tree.problems.isEmpty {
            result.snapshot = parent.id
            result.statistics = parent.statistics
            if head == nil { result.sequence = try record(result, nil, &state) }
        } else {
            let limit = Timestamp(
                seconds: scanned.started.seconds - Self.racyMargin, nanoseconds: scanned.started.nanoseconds)
            let finished = try storing.run(
                scanned.tree, comparison, parent: parent, access, trustLimit: limit, &result)
            // What the files hold lies open as long as they are read.
            withExtendedLifetime(root) {}
            result.snapshot = finished.manifest.snapshot
            result.statistics = finished.manifest.statistics
            result.storedBytes = result.packBytes + finished.manifest.storedLength
            if result.snapshot != head?.commit.snapshot {
                result.sequence = try record(result, parentRecord, &state)
            }
            if let cachePath { finished.statCache.write(to: cachePath, snapshot: result.snapshot, key: key) }
        }
        if result.sequence == nil {
            do throws(RecordLogError) { try store.log.makeDurable(state) } catch { throw StoreError(error) }
        }
        result.seconds = Double(options.clock.monotonicNanoseconds() &- started) / 1e9
        return result
    }

    /// Finds out before the work that the branch cannot take a commit.
    private func checkBranch(_ state: LogState, _ parent: Commit.Parent?) throws(StoreError) {
        let change = Commit(dataset: options.dataset, branch: options.branch, snapshot: .zero, parent: parent)
        do throws(LogConflict) { try state.check(.commit(change)) } catch {
            throw StoreError(.conflict, error.description)
        }
    }

    // MARK: - Source

    private func openSource() throws(StoreError) -> DescriptorFile {
        do throws(Errno) {
            return DescriptorFile(try FileDescriptor.open(options.source, O_RDONLY | O_DIRECTORY))
        } catch {
            let code: StoreError.Code = error == .accessDenied ? .permissionDenied : .invalidInput
            throw StoreError(
                code, "the source directory cannot be opened", path: options.source.description, cause: error,
                remedy: "Give a directory that exists and that you may read")
        }
    }

    private struct Scanned {
        var tree: SourceTree
        /// Before the first file was looked at.
        var started: Timestamp
    }

    private func scan(_ root: DescriptorFile) throws(StoreError) -> Scanned {
        meter.begin(.scanning)
        let started = options.clock.now()
        let status: FileStatus
        do throws(Errno) { status = try root.descriptor.status() } catch {
            throw StoreError(.inputOutput, "the source directory cannot be read", cause: error)
        }
        let tree = try TreeScanner(root: root.descriptor.rawValue).scan(threads: threads, rootStatus: status)
        meter.begin(.scanning) { $0.entries = tree.entryCount }
        if tree.skippedSpecial > 0 {
            options.warning?(
                "left out \(tree.skippedSpecial) sockets, fifos and devices, which a dataset cannot hold")
        }
        return Scanned(tree: tree, started: started)
    }

    private func compare(
        _ tree: SourceTree, _ access: DirectoryAccess, _ parent: Snapshot?, _ cachePath: ByteString?,
        _ key: ContentHash
    ) throws(StoreError) -> Comparison {
        let wholeLimit = UInt64(store.configuration.chunking.wholeLimit)
        guard let parent, let cachePath else {
            return try Comparison(tree, parent: parent, cache: nil, access, wholeLimit: wholeLimit)
        }
        let cache = StatCache.load(cachePath, snapshot: parent.id, key: key)
        return try Comparison(tree, parent: parent, cache: cache, access, wholeLimit: wholeLimit)
    }

    // MARK: - Store

    private func record(
        _ result: CommitResult, _ parent: Commit.Parent?, _ state: inout LogState
    ) throws(StoreError) -> UInt64? {
        let change = Commit(
            dataset: options.dataset, branch: options.branch, snapshot: result.snapshot, parent: parent,
            message: options.message, metadata: options.metadata, files: result.files, bytes: result.bytes,
            newBytes: result.newBytes, storedBytes: result.storedBytes)
        do throws(RecordLogError) {
            return try store.log.append(to: &state) { _ in .commit(change) }?.sequence
        } catch {
            guard case .conflict(let conflict) = error else { throw StoreError(error) }
            throw StoreError(
                .conflict, conflict.description, snapshot: result.snapshot.hex,
                remedy: "The data is stored: committing again reads what changed only and is cheap")
        }
    }
}
