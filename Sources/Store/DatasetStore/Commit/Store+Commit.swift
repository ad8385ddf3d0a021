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
        try report(scanned.tree.problems)
        let key = StatCache.key(
            storeID: store.configuration.storeID, dataset: options.dataset, source: options.source)
        let cachePath =
            options.usesStatCache ? StatCache.path(directory: options.statCacheDirectory, key: key) : nil
        let comparison = try compare(scanned.tree, parent, cachePath, key)

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
            let finished = try storeData(scanned, comparison, parent, root, &result)
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

    private func openSource() throws(StoreError) -> SourceFile {
        do throws(Errno) {
            return SourceFile(try FileDescriptor.open(options.source, O_RDONLY | O_DIRECTORY))
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

    private func scan(_ root: SourceFile) throws(StoreError) -> Scanned {
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
        _ tree: SourceTree, _ parent: Snapshot?, _ cachePath: ByteString?, _ key: ContentHash
    ) throws(StoreError) -> Comparison {
        let wholeLimit = UInt64(store.configuration.chunking.wholeLimit)
        guard let parent, let cachePath else {
            return try Comparison(tree, parent: parent, cache: nil, wholeLimit: wholeLimit)
        }
        let cache = StatCache.load(cachePath, snapshot: parent.id, key: key)
        return try Comparison(tree, parent: parent, cache: cache, wholeLimit: wholeLimit)
    }

    /// Fails, or warns where the caller wants to go on without what cannot be read.
    private func report(_ problems: [SourceProblem]) throws(StoreError) {
        guard !problems.isEmpty else { return }
        let shown = problems.prefix(20).map(\.description).joined(separator: "; ")
        let more = problems.count > 20 ? "; and \(problems.count - 20) more" : ""
        if let changing = problems.first(where: { $0.isChange }) {
            throw StoreError(
                .sourceChanged, "files changed while they were read: \(shown)\(more)", path: changing.path,
                remedy: "Commit when nobody writes to the directory, or commit a snapshot of its file system")
        }
        guard options.skipsUnreadable else {
            throw StoreError(
                .permissionDenied, "\(problems.count) files or directories cannot be read: \(shown)\(more)",
                path: problems.first?.path, remedy: "Fix their permissions, or skip what cannot be read")
        }
        options.warning?(
            "left out \(problems.count) files or directories that cannot be read: \(shown)\(more)")
    }

    // MARK: - Store

    private func storeData(
        _ scanned: Scanned, _ comparison: Comparison, _ parent: Snapshot?, _ root: SourceFile,
        _ result: inout CommitResult
    ) throws(StoreError) -> ManifestAssembly.Result {
        let tree = scanned.tree
        let footers = PackFooters(store)
        let known = KnownPacks(store: store, parent: parent, footers: footers)
        let catalog = ChunkCatalog(footers) { catalog throws(StoreError) in try known.add(to: catalog) }
        let context = StoringContext(
            objects: store.objects, catalog: catalog, footers: footers, bases: PlainChunkCache(),
            publisher: PackPublisher(), random: options.random)
        meter.begin(.storing) { progress in
            progress.totalFiles = result.readFiles
            progress.totalBytes = Self.bytes(comparison, tree)
        }
        let pipeline = Pipeline(
            tree, comparison, parent: parent, options, store.configuration.chunking, context,
            root: root.descriptor.rawValue, meter: meter, threads: threads)
        try pipeline.run(threads: threads)
        let problems = pipeline.collectProblems()
        try report(problems)
        result.skippedUnreadable += UInt64(problems.count)
        result.changedWhileRead = pipeline.results.changedWhileRead
        result.newBytes = pipeline.results.newBytes
        result.prefixFrames = pipeline.results.prefixFrames
        result.packBytes = context.publisher.publishedBytes
        meter.begin(.publishing)
        let limit = Timestamp(
            seconds: scanned.started.seconds - Self.racyMargin, nanoseconds: scanned.started.nanoseconds)
        return try ManifestAssembly(
            tree, comparison, parent: parent, context, store.manifests, trustLimit: limit
        ).run(pipeline.results)
    }

    private static func bytes(_ comparison: Comparison, _ tree: SourceTree) -> UInt64 {
        var total: UInt64 = 0
        for ordinal in comparison.smallReads { total &+= tree.node(tree.locate(UInt64(ordinal))).size }
        for ordinal in comparison.largeReads { total &+= tree.node(tree.locate(UInt64(ordinal))).size }
        return total
    }

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

extension SourceProblem: CustomStringConvertible {
    var description: String {
        switch kind {
        case .unreadable(let errno): "\(path): \(errno)"
        case .changing: "\(path): it changed each time it was read"
        case .vanished: "\(path): it vanished or was replaced"
        case .pathTooLong: "\(path): its path is longer than \(ManifestFormat.maximumPathLength) bytes"
        case .nameTooLong: "\(path): its name is longer than \(ManifestFormat.maximumNameLength) bytes"
        }
    }

    var isChange: Bool {
        switch kind {
        case .changing, .vanished: true
        case .unreadable, .pathTooLong, .nameTooLong: false
        }
    }
}
