import Chunking
import Synchronization
package import System

/// Makes files of a snapshot, or of a part of it. Every byte is verified by its hash before it is written.
///
/// One thread walks the manifest and makes directories and links; others write files. Directories get their
/// modes and times last, deepest first, since writing into them would change those.
package final class SnapshotExport: Sendable {
    private let snapshot: Snapshot
    private let footers: PackFooters
    private let bases = PlainChunkCache()
    private let options: ExportOptions
    private let progress: WorkCounter
    private let queue = ExportQueue()

    private struct State {
        var result = ExportResult()
        /// What ends the export.
        var error: StoreError?
    }
    private let state = Mutex(State())

    package init(
        _ snapshot: Snapshot, of store: Store, options: ExportOptions, progress: WorkCounter = WorkCounter()
    ) {
        self.snapshot = snapshot
        footers = PackFooters(store)
        self.options = options
        self.progress = progress
    }

    /// Writes the entry at `path`: a directory's contents into the target, anything else as one name in it.
    package func run(_ path: ByteString = "") throws(StoreError) -> ExportResult {
        let entry = try snapshot.entry(at: path)
        let root = try TargetDirectory.openRoot(options.target, overwrites: options.overwrites)
        let isWhole = entry.name.isEmpty
        progress.begin("exporting", totalBytes: isWhole ? snapshot.statistics.bytes : 0)
        let writers = WorkerThreads(options.threads, "kaml-export") { self.writeFiles() }
        let walk = Result { () throws(StoreError) -> Postponed in try self.walk(entry, root) }
        if case .failure = walk { queue.close(discarding: true) } else { queue.close() }
        writers.join()
        let (result, error) = state.withLock { ($0.result, $0.error) }
        if let error { throw error }
        return try finish(try walk.get(), root, result)
    }

    // MARK: - The walk

    /// What waits until all files are written.
    private struct Postponed {
        var directories: [(path: ByteString, entry: ManifestEntry)] = []
        var links: [(directory: ByteString, entry: ManifestEntry)] = []
        /// Key path of the exported directory; nil for a single entry.
        var base: ByteString?
    }

    private func walk(_ entry: ManifestEntry, _ root: TargetDirectory) throws(StoreError) -> Postponed {
        var postponed = Postponed()
        guard entry.contents == .directory else {
            var single = entry
            if case .hardLink = entry.contents { single = try snapshot.resolve(entry) }
            try make(single, as: entry.name, in: root, below: "", &postponed)
            return postponed
        }
        postponed.base = entry.keyPath
        postponed.directories.append(("", entry))
        var current: (path: ByteString, directory: TargetDirectory) = ("", root)
        try snapshot.walk(below: entry.keyPath) { view, index throws(StoreError) in
            let child = view.entry(index)
            let path = Self.relative(child.directory, to: entry.keyPath)
            if path != current.path { current = (path, try root.open(path)) }
            try self.make(child, as: child.name, in: current.directory, below: path, &postponed)
        }
        return postponed
    }

    /// The directory's path below the exported one, with slashes.
    private static func relative(_ directory: ByteString, to base: ByteString) -> ByteString {
        let skipped = base.isEmpty ? 0 : min(directory.count, base.count + 1)
        return ManifestEntry.displayPath(keyPath: ByteString(Array(directory.bytes[skipped...])))
    }

    private func make(
        _ entry: ManifestEntry, as name: ByteString, in directory: TargetDirectory, below path: ByteString,
        _ postponed: inout Postponed
    ) throws(StoreError) {
        switch entry.contents {
        case .directory:
            try directory.makeDirectory(name, overwrites: options.overwrites)
            postponed.directories.append((path.appending(name), entry))
            count { $0.directories += 1 }
        case .symlink(let target):
            try directory.makeSymlink(name, to: target, overwrites: options.overwrites)
            try directory.setSymlinkAttributes(name, entry, restoresOwner: options.restoresOwners)
            count { $0.symlinks += 1 }
        case .hardLink: postponed.links.append((path, entry))
        case .empty, .chunk, .extents:
            guard queue.add(.init(directory: directory, entry: entry, name: name)) else {
                throw state.withLock { $0.error } ?? StoreError(.inputOutput, "the export was stopped")
            }
        }
    }

    // MARK: - Files

    private func writeFiles() {
        var reader = FileReader(footers, bases: bases)
        while let job = queue.next() {
            do throws(StoreError) {
                try write(job, &reader)
                progress.add(items: 1)
            } catch {
                if error.isAboutTheStore {
                    note(error)
                } else {
                    state.withLock { $0.error = $0.error ?? error }
                    queue.close(discarding: true)
                }
            }
        }
    }

    /// Damage to one file does not keep the others from being written.
    private func note(_ error: StoreError) {
        count { result in
            result.failedFiles += 1
            if result.failures.count < CheckReport.listed { result.failures.append(error) }
        }
    }

    private func write(_ job: ExportQueue.Job, _ reader: inout FileReader) throws(StoreError) {
        let path = job.directory.path.appending(job.name)
        let file = try job.directory.makeFile(job.name, overwrites: options.overwrites)
        var offset: UInt64 = 0
        do throws(StoreError) {
            try reader.read(job.entry) { piece throws(StoreError) in
                switch piece {
                case .bytes(let bytes):
                    do throws(Errno) {
                        try unsafe Self.write(bytes, at: offset, to: file, skippingZeros: job.entry.hasHoles)
                    } catch {
                        throw StoreError(error, "cannot write", path)
                    }
                    offset += UInt64(bytes.count)
                    progress.add(bytes: UInt64(bytes.count))
                case .hole(let count):
                    offset += count
                    progress.add(bytes: count)
                }
            }
        } catch {
            // Half a file must not pass for a whole one.
            job.directory.remove(job.name)
            throw error
        }
        // A hole at the end is no write.
        if offset > 0 {
            do throws(Errno) { try file.truncate(to: offset) } catch {
                throw StoreError(error, "cannot write", path)
            }
        }
        let lost = try TargetDirectory.setAttributes(of: file, path, job.entry, options)
        count { result in
            result.files += 1
            result.bytes += offset
            result.lostAttributes += lost
        }
    }

    /// A chunk that a hole begins or ends in holds zeros: in a file with holes, whole blocks of them become
    /// holes again.
    private static func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, to file: borrowing FileDescriptor,
        skippingZeros: Bool
    ) throws(Errno) {
        guard skippingZeros else { return try unsafe file.write(bytes, at: offset) }
        let block = 4096
        var start = 0
        while start < bytes.count {
            var end = start
            // Blocks of the file, not of the chunk.
            func next(_ position: Int) -> Int {
                min(bytes.count, position + block - Int((offset + UInt64(position)) % UInt64(block)))
            }
            while end < bytes.count, unsafe !isZero(UnsafeRawBufferPointer(rebasing: bytes[end..<next(end)]))
            {
                end = next(end)
            }
            if end > start {
                try unsafe file.write(
                    UnsafeRawBufferPointer(rebasing: bytes[start..<end]), at: offset + UInt64(start))
            }
            start = end < bytes.count ? next(end) : end
        }
    }

    // MARK: - The end

    private func finish(
        _ postponed: Postponed, _ root: TargetDirectory, _ partial: ExportResult
    ) throws(StoreError) -> ExportResult {
        var result = partial
        for (path, entry) in postponed.links { try link(entry, path, postponed.base ?? "", root, &result) }
        for (path, entry) in postponed.directories.reversed() {
            let directory = path.isEmpty ? root : try root.open(path)
            result.lostAttributes += try directory.setAttributes(entry, options)
        }
        return result
    }

    /// A further name of a file. Where the file itself lies outside of what is exported, or could not be
    /// written, the name becomes a file of its own.
    private func link(
        _ entry: ManifestEntry, _ path: ByteString, _ base: ByteString, _ root: TargetDirectory,
        _ result: inout ExportResult
    ) throws(StoreError) {
        let target = try snapshot.resolve(entry)
        let directory = path.isEmpty ? root : try root.open(path)
        let isInside =
            base.isEmpty || target.directory == base || target.directory.bytes.starts(with: base.bytes + [0])
        if isInside {
            let targetPath = Self.relative(target.directory, to: base)
            let targetDirectory = targetPath.isEmpty ? root : try root.open(targetPath)
            do throws(StoreError) {
                try directory.makeLink(
                    entry.name, to: targetDirectory, target.name, overwrites: options.overwrites)
                result.hardLinks += 1
                return
            } catch  where error.code == .conflict || error.code == .noSpace {
                throw error
            } catch {}
        }
        var reader = FileReader(footers, bases: bases)
        do throws(StoreError) {
            try write(.init(directory: directory, entry: target, name: entry.name), &reader)
        } catch {
            guard error.isAboutTheStore else { throw error }
            note(error)
        }
        let added = state.withLock { $0.result }
        result.files = added.files
        result.bytes = added.bytes
        result.failedFiles = added.failedFiles
        result.failures = added.failures
    }

    private func count(_ body: (inout ExportResult) -> Void) { state.withLock { body(&$0.result) } }
}

extension ManifestEntry {
    fileprivate var hasHoles: Bool {
        guard case .extents(_, let extents) = contents else { return false }
        return extents.contains { $0.source == nil }
    }
}

extension StoreError {
    /// The store, or the source of an import, gave wrong bytes or none for one file; others may still be good.
    /// `FileReader` calls all of that damage or change, and nothing else here does.
    fileprivate var isAboutTheStore: Bool { code == .damaged || code == .sourceChanged }
}
