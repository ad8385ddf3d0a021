import Chunking
package import DatasetStore
import Glibc
package import ObjectStore
import Synchronization
package import System

/// The indexes of a node, kept in a directory, made where they are missing.
///
/// ```
/// <snapshot>-<format>-<tag of the selection>.index
/// <...>.part     what an unfinished build has, for the next one
/// <...>.<n>.new  one that is being written
/// ```
package final class RecordIndexes: Sendable {
    let directory: ByteString?
    let files: any FileSystem
    let threads: Int
    private let mostBytes: UInt64
    private let state: Mutex<State>

    struct Key: Hashable {
        let snapshot: ContentHash
        let selection: RecordSelection
    }

    private struct State {
        var builds: [Key: IndexBuild] = [:]
        /// Indexes that somebody uses.
        var open: [Key: WeakIndex] = [:]
        var isStopped = false
        var serial = 0
    }

    private struct WeakIndex { weak var index: RecordIndex? }

    /// - Parameters:
    ///   - directory: nil, or one that cannot be made or written, keeps indexes in memory.
    ///   - threads: of a build.
    ///   - mostBytes: of all indexes in the directory; the oldest go first.
    package init(
        directory: ByteString?, files: any FileSystem = HostFileSystem(), threads: Int = 2,
        mostBytes: UInt64 = 8 << 30
    ) {
        var directory = directory
        if let path = directory {
            do throws(Errno) { try files.makeDirectories(path, mode: 0o700) } catch { directory = nil }
        }
        (self.directory, self.files, self.threads, self.mostBytes) = (
            directory, files, max(1, threads), mostBytes
        )
        state = Mutex(State())
        removeUnfinished()
    }

    /// The index, or the making of it, which all who ask for the same share. Does not wait.
    ///
    /// - Parameter published: the snapshot's store, where an index may lie already.
    package func begin(
        _ snapshot: Snapshot, _ selection: RecordSelection, _ bytes: any FileBytes,
        published: (any ObjectStore)? = nil
    ) -> IndexBuild {
        begin(snapshot, selection, PulledFiles(source: bytes), published: published)
    }

    package func begin(
        _ snapshot: Snapshot, _ selection: RecordSelection, _ source: any FileStreams,
        published: (any ObjectStore)? = nil
    ) -> IndexBuild {
        let key = Key(snapshot: snapshot.id, selection: selection)
        let (build, isNew) = state.withLock { state -> (IndexBuild, Bool) in
            if let index = state.open[key]?.index { return (IndexBuild(done: index), false) }
            if let build = state.builds[key] { return (build, false) }
            let build = IndexBuild()
            if state.isStopped {
                build.finish(.failure(Self.stopped))
                return (build, false)
            }
            state.builds[key] = build
            return (build, true)
        }
        guard isNew else { return build }
        let run = IndexRun(
            home: self, build: build, snapshot: snapshot, selection: selection, source: source,
            published: published)
        do throws(Errno) {
            try Thread(name: "kaml-index") {
                let result = Result { () throws(RecordIndexError) in try run.run() }
                self.end(key, build, result)
            }.detach()
        } catch {
            end(
                key, build, .failure(RecordIndexError(.unavailable, "no thread can be started", cause: error))
            )
        }
        return build
    }

    /// Ends all builds; what they have is kept for the next ones. New ones fail.
    package func stop() {
        let builds = state.withLock { state in
            state.isStopped = true
            return Array(state.builds.values)
        }
        for build in builds { build.cancel() }
        for build in builds { _ = build.wait(milliseconds: nil) }
    }

    private func end(_ key: Key, _ build: IndexBuild, _ result: Result<RecordIndex, RecordIndexError>) {
        state.withLock { state in
            state.builds[key] = nil
            state.open = state.open.filter { $0.value.index != nil }
            if case .success(let index) = result { state.open[key] = WeakIndex(index: index) }
        }
        trim()
        build.finish(result)
    }

    static let stopped = RecordIndexError(
        .cancelled, "the agent is stopping", remedy: "Try again once it has started")

    /// A name that no other build of this process has.
    func temporaryName(_ name: ByteString) -> ByteString {
        let serial = state.withLock { state in
            state.serial += 1
            return state.serial
        }
        return ByteString("\(name).\(getpid())-\(serial).new")
    }

    private func removeUnfinished() {
        guard let directory, let entries = try? files.list(directory) else { return }
        for entry in entries where entry.name.bytes.suffix(4).elementsEqual(".new".utf8) {
            try? files.unlink(directory.appending(entry.name))
        }
    }

    /// Removes the oldest indexes until the rest is within the limit. Those in use stay mapped.
    private func trim() {
        guard let directory, let entries = try? files.list(directory) else { return }
        var found: [(path: ByteString, status: FileStatus)] = []
        for entry in entries where !entry.name.bytes.suffix(4).elementsEqual(".new".utf8) {
            let path = directory.appending(entry.name)
            if let status = try? files.status(of: path) { found.append((path, status)) }
        }
        var total = found.reduce(0 as UInt64) { $0 &+ $1.status.blocks &* 512 }
        for (path, status) in found.sorted(by: { $0.status.modified < $1.status.modified })
        where total > mostBytes {
            try? files.unlink(path)
            total -= min(total, status.blocks &* 512)
        }
    }
}

/// An index that is being made, or is there.
package final class IndexBuild: Sendable {
    private let state: Monitor<State>
    private let cancelled = Atomic(false)
    private let parkers = Mutex<[Parker]>([])

    private struct State {
        var progress = IndexProgress()
        var result: Result<RecordIndex, RecordIndexError>?
    }

    init() { state = Monitor(State()) }

    init(done index: RecordIndex) {
        state = Monitor(State(progress: IndexProgress(records: index.records), result: .success(index)))
    }

    package var progress: IndexProgress { state.withLock { $0.progress } }

    /// Waits for the end; nil when the time is over before. Without a time it waits as long as it takes.
    package func wait(milliseconds: Int?) -> Result<RecordIndex, RecordIndexError>? {
        guard let milliseconds else { return state.wait { $0.result } }
        let parker = Parker()
        parkers.withLock { $0.append(parker) }
        defer { parkers.withLock { $0.removeAll { $0 === parker } } }
        if let result = state.withLock({ $0.result }) { return result }
        parker.park(nanoseconds: UInt64(max(0, milliseconds)) * 1_000_000)
        return state.withLock { $0.result }
    }

    var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

    func cancel() { cancelled.store(true, ordering: .relaxed) }

    func update(_ body: (inout IndexProgress) -> Void) { state.withLock { body(&$0.progress) } }

    func finish(_ result: Result<RecordIndex, RecordIndexError>) {
        state.withLock { $0.result = result }
        state.wake()
        for parker in parkers.withLock({ $0 }) { parker.unpark() }
    }
}
