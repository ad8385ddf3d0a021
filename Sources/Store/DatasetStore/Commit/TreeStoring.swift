import Chunking
import ObjectStore
import System

/// Reads and stores the files of a tree and writes its manifest: what a commit and an import with `--copy` share.
struct TreeStoring {
    let store: Store
    let options: CommitOptions
    let threads: Int
    let meter: CommitMeter

    /// Everything is stored and the manifest is written when it returns. Files changed after `trustLimit` may change
    /// again without their times telling.
    func run(
        _ tree: SourceTree, _ comparison: Comparison, parent: Snapshot?, _ access: any SourceAccess,
        trustLimit: Timestamp, _ result: inout CommitResult
    ) throws(StoreError) -> ManifestAssembly.Result {
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
            access, meter: meter, threads: threads)
        try pipeline.run(threads: threads)
        let problems = pipeline.collectProblems()
        try report(problems)
        result.skippedUnreadable += UInt64(problems.count)
        result.changedWhileRead = pipeline.results.changedWhileRead
        result.newBytes = pipeline.results.newBytes
        result.prefixFrames = pipeline.results.prefixFrames
        result.packBytes = context.publisher.publishedBytes
        meter.begin(.publishing)
        return try ManifestAssembly(
            tree, comparison, parent: parent, access, context, store.manifests, trustLimit: trustLimit
        ).run(pipeline.results)
    }

    private static func bytes(_ comparison: Comparison, _ tree: SourceTree) -> UInt64 {
        var total: UInt64 = 0
        for ordinal in comparison.smallReads { total &+= tree.node(tree.locate(UInt64(ordinal))).size }
        for ordinal in comparison.largeReads { total &+= tree.node(tree.locate(UInt64(ordinal))).size }
        return total
    }

    /// Fails, or warns where the caller wants to go on without what cannot be read.
    func report(_ problems: [SourceProblem]) throws(StoreError) {
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
