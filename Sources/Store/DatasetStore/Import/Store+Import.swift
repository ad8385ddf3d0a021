import Chunking
import ObjectStore
import Synchronization
import System

extension Store {
    /// Makes a snapshot of the objects of a source and puts it at the head of a branch, without copying a byte of them:
    /// only the listing is read.
    ///
    /// Objects that the branch's head has in the same version keep their references; nothing changed, no new commit.
    /// Publishes packs, then manifests, then the log record, so it can be killed anywhere. Throws `.conflict` when
    /// somebody else committed to the branch meanwhile, or when the tag names another commit.
    package func importObjects(_ options: ImportOptions) throws(StoreError) -> ImportResult {
        do throws(StoreError) { return try ImportRun(self, options).run() } catch {
            throw error.at(dataset: options.dataset.text)
        }
    }
}

/// One import from listing to log record.
private struct ImportRun {
    let store: Store
    let options: ImportOptions
    let meter: ImportMeter

    init(_ store: Store, _ options: ImportOptions) {
        self.store = store
        self.options = options
        meter = ImportMeter(options)
    }

    func run() throws(StoreError) -> ImportResult {
        let started = options.clock.monotonicNanoseconds()
        var head = try BranchHead(options.dataset, options.branch, in: store)
        if let tag = options.tag { try head.checkTag(tag) }
        let tree = ObjectTree(try list())
        if let parent = head.parent, tree.objectCount == 0, !options.allowsEmpty {
            try checkEmpties(parent.snapshot)
        }
        var result = ImportResult(snapshot: .zero, statistics: SnapshotStatistics())
        result.parent = head.parent?.snapshot
        result.listedObjects = tree.listing.listedObjects
        result.listedBytes = tree.listing.listedBytes
        result.skipped = tree.listing.skipped
        result.oddKeys = tree.listing.oddKeys
        result.archived = tree.listing.archived
        if options.copies {
            meter.begin(.copying)
            try ImportCopy(store: store, options: options).run(
                tree, parent: head.resembled, progress: { [meter] in meter.copied($0) }, &result)
        } else {
            try refer(tree, parent: head.resembled, &result)
        }
        if result.snapshot != head.parent?.snapshot {
            result.sequence = try head.record(
                result.snapshot, message: options.message, metadata: options.metadata,
                statistics: result.statistics, newBytes: result.newBytes, storedBytes: result.storedBytes)
        } else {
            try head.makeDurable()
        }
        if let tag = options.tag { try head.makeTag(tag) }
        result.seconds = Double(options.clock.monotonicNanoseconds() &- started) / 1e9
        return result
    }

    /// A prefix with a slip in it lists nothing: that must not empty a branch.
    private func checkEmpties(_ parent: ContentHash) throws(StoreError) {
        let files = try store.snapshot(parent).root.statistics.files
        guard files > 0 else { return }
        throw StoreError(
            .invalidInput,
            "\(options.source.location) lists no objects that could be files, and the branch has \(files) files",
            remedy: "Check the source's name, or give --allow-empty if the dataset is meant to be empty now")
    }

    private func list() throws(StoreError) -> ObjectListing {
        meter.begin(.listing)
        var listing = ObjectListing()
        do throws(ObjectStoreError) {
            try options.source.list { object throws(ObjectStoreError) in
                listing.add(object)
                meter.listed(listing)
                return listing.listedObjects < Self.maximumObjects
            }
        } catch { throw StoreError(error) }
        guard listing.listedObjects < Self.maximumObjects else {
            throw StoreError(
                .invalidInput, "the source lists more than \(Self.maximumObjects) objects",
                remedy: "Import its parts as datasets of their own")
        }
        return listing
    }

    /// Entries of a snapshot are numbered in 32 bits by those who make one.
    private static let maximumObjects: UInt64 = 2_000_000_000

    private func refer(
        _ tree: ObjectTree, parent: Snapshot?, _ result: inout ImportResult
    ) throws(StoreError) {
        meter.begin(.referring)
        let publisher = ReferencePublisher(store.objects)
        var assembly = ReferenceAssembly(
            location: options.source.location, parameters: store.configuration.chunking,
            random: options.random, publisher: publisher)
        var outcome: Result<Void, StoreError> = .success(())
        try runThreads(ReferencePublisher.width, name: "kaml-import", { _ in publisher.run() }) {
            outcome = Result { () throws(StoreError) in try assembly.place(tree, parent: parent) }
            if case .failure = outcome { publisher.close(discarding: true) } else { publisher.close() }
        }
        try publisher.throwIfFailed()
        try outcome.get()
        meter.begin(.publishing)
        let manifest = try writeManifest(tree, assembly, parent: parent)
        result.snapshot = manifest.snapshot
        result.statistics = manifest.statistics
        result.newObjects = assembly.newObjects
        result.newBytes = assembly.newBytes
        result.reusedObjects = assembly.reusedObjects
        result.packs = publisher.published.packs
        result.storedBytes = publisher.published.bytes + manifest.storedLength
    }

    private func writeManifest(
        _ tree: ObjectTree, _ assembly: ReferenceAssembly, parent: Snapshot?
    ) throws(StoreError) -> ManifestWriter.Result {
        var writer = ManifestWriter(objects: store.manifests, parent: parent)
        try writer.append(directory("", "", tree.rootModified))
        try tree.forEachEntry { path, entry throws(StoreError) in
            switch entry {
            case .directory(let index):
                let child = tree.directory(index)
                let name = ByteString(Array(child.keyPath.bytes[child.nameStart...]))
                try writer.append(directory(path, name, child.modified))
            case .object(let position):
                let object = tree.object(position)
                let contents = assembly.contents(position, of: tree.listing.referenced(object))
                try writer.append(
                    unsafe ManifestEntry(
                        directory: path, name: ByteString(tree.listing.name(object)),
                        mode: 0o100000 | options.fileMode & 0o7777, userID: options.userID,
                        groupID: options.groupID, modified: object.modified, size: object.size,
                        contents: contents))
            }
        }
        return try writer.finish()
    }

    /// A directory is as old as the newest object below it, so that the same listing gives the same snapshot.
    private func directory(_ path: ByteString, _ name: ByteString, _ modified: Timestamp?) -> ManifestEntry {
        ManifestEntry(
            directory: path, name: name, mode: 0o040000 | options.directoryMode & 0o7777,
            userID: options.userID, groupID: options.groupID,
            modified: modified ?? Timestamp(seconds: 0, nanoseconds: 0), size: 0, contents: .directory)
    }
}

/// Counts what an import has done and tells about it ten times a second.
private final class ImportMeter: Sendable {
    private static let interval: UInt64 = 100_000_000

    private let report: (@Sendable (ImportProgress) -> Void)?
    private let clock: any Clock
    private let state = Mutex((progress: ImportProgress(), next: UInt64(0)))

    init(_ options: ImportOptions) {
        report = options.progress
        clock = options.clock
    }

    func begin(_ phase: ImportProgress.Phase) {
        state.withLock { $0.progress.phase = phase }
        tell()
    }

    /// Cheap between two reports: the clock is asked once in 256 objects.
    func listed(_ listing: borrowing ObjectListing) {
        guard report != nil, listing.listedObjects & 0xFF == 0 else { return }
        let now = clock.monotonicNanoseconds()
        let (objects, bytes) = (listing.listedObjects, listing.listedBytes)
        let isDue = state.withLock { state -> Bool in
            state.progress.objects = objects
            state.progress.bytes = bytes
            guard now >= state.next else { return false }
            state.next = now + Self.interval
            return true
        }
        if isDue { tell() }
    }

    func copied(_ progress: CommitProgress) {
        state.withLock { state in
            state.progress.phase = progress.phase == .publishing ? .publishing : .copying
            state.progress.totalBytes = progress.totalBytes
            state.progress.copiedBytes = progress.bytes
        }
        tell()
    }

    private func tell() {
        guard let report else { return }
        state.withLock { report($0.progress) }
    }
}
