import ArgumentParser
import Chunking
import DatasetStore
import KamlCommand
import ObjectStore
import RecordIndex
import Synchronization
import System

/// `kaml commit`.
struct CommitCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit", abstract: "Make a snapshot of a directory.",
        discussion: """
              kaml commit imagenet /data/imagenet -m "as downloaded"
              kaml commit imagenet /data/imagenet --branch cleaned --meta ticket=DATA-17 -o json

            Only what the store does not have is stored; a file that changed a little is stored as its difference. Files
            whose size, times and inode are as at the last commit are not read again. Nothing is visible before all of it
            is stored, so a commit can be killed at any time; run again, it goes on with what was stored.
            """)

    @Argument(help: "The dataset; the first commit makes it.", completion: NameCompletion.kind)
    var dataset: String
    @Argument(help: "The directory whose contents become the snapshot.", completion: .directory)
    var directory: String
    @Option(name: .shortAndLong, help: "What this version is.")
    var message = ""
    @Option(help: "The branch to commit to; made when it is not there.")
    var branch = "main"
    @Option(
        name: .customLong("meta"),
        help: .init("A fact to keep with the commit; may be given again.", valueName: "key=value"))
    var metadata: [String] = []
    @Option(help: "Threads that read, hash and compress; all cores if not given.")
    var threads: Int?
    @Option(help: "zstd's level for new data, 1 to 19.")
    var level: Int = 3
    @Flag(help: "Leave out what cannot be read instead of failing.")
    var skipUnreadable = false
    @Flag(help: "Read every file, also those that look unchanged.")
    var rescan = false
    @Flag(help: "Also store the index of its records for feeds, which nodes make otherwise: `kaml index`.")
    var index = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...19).contains(level) else { throw ValidationError("--level is 1 to 19") }
        guard threads.map({ (1...1024).contains($0) }) ?? true else {
            throw ValidationError("--threads is 1 to 1024")
        }
    }

    func run() throws {
        let dataset = try NameArgument.dataset(dataset)
        let branch = try NameArgument.ref(branch, "a branch")
        let place = try StorePlace.url(store.url)
        let store = try store.openForWriting()
        let source = try CachePlace.absolute(RawArguments.bytes(of: directory))
        try Self.checkApart(source, place)
        // Also when nothing is written in the end.
        TemporaryObjects.removeAbandoned(from: store.objects)
        var options = CommitOptions(dataset: dataset, branch: branch, source: source)
        options.message = message
        options.metadata = try Self.pairs(metadata)
        options.threads = threads
        options.level = Int32(level)
        options.skipsUnreadable = skipUnreadable
        options.usesStatCache = !rescan
        options.warning = { StandardError.write("warning: \(CellText.safe($0))\n") }
        let latest = LatestProgress()
        options.progress = { latest.set($0) }
        let result = try ProgressBar.during({ latest.state }) { try store.commit(options) }
        warn(result)
        answer(
            CommitReport(dataset, branch, result, hasMessage: !message.isEmpty || !metadata.isEmpty))
        // The commit stands, whatever becomes of its index.
        if index { storeIndex(of: result.snapshot, in: store) }
    }

    private func storeIndex(of id: ContentHash, in store: Store) {
        do {
            let made = try Indexing.make(store, try store.snapshot(id), RecordSelection())
            _ = try Indexing.publish(made, in: store)
        } catch {
            let failure = Failure(error)
            StandardError.write("warning: the commit has no index: \(CellText.safe(failure.what))\n")
            if let path = failure.path { StandardError.write("  path: \(CellText.safe(path))\n") }
        }
    }

    /// A snapshot of the store itself would grow with each commit.
    private static func checkApart(_ source: ByteString, _ place: ObjectStoreURL) throws {
        switch place {
        case .directory(let path):
            let hint = "keep the store outside of what is committed"
            if CanonicalPath.contains(source, path) {
                throw Failure(.usage, "the directory \(source) contains the store \(path)", hint: hint)
            }
            if CanonicalPath.contains(path, source) {
                throw Failure(.usage, "the directory \(source) lies in the store \(path)", hint: hint)
            }
        case .bucket: break
        }
    }

    private func warn(_ result: CommitResult) {
        if result.changedWhileRead > 0 {
            StandardError.write(
                "warning: \(CountText.of(result.changedWhileRead, "file")) changed while being read, and was read again\n"
            )
        }
    }

    static func pairs(_ texts: [String]) throws -> [String: String] {
        var pairs: [String: String] = [:]
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Failure(.usage, "\"\(text)\" is no fact", hint: "write --meta key=value")
            }
            pairs[String(parts[0])] = String(parts[1])
        }
        return pairs
    }
}

/// The newest word of a commit, for the bar.
private final class LatestProgress: Sendable {
    private let latest = Mutex<CommitProgress?>(nil)

    func set(_ progress: CommitProgress) { latest.withLock { $0 = progress } }

    var state: ProgressState {
        guard let now = latest.withLock({ $0 }) else {
            return ProgressState(label: "scanning", done: 0, total: nil)
        }
        switch now.phase {
        case .scanning:
            return ProgressState(
                label: "scanning", done: 0, total: nil, note: CountText.of(now.entries, "entry", "entries"))
        case .storing, .publishing:
            return ProgressState(
                label: now.phase.rawValue, done: now.bytes, total: now.totalBytes > 0 ? now.totalBytes : nil,
                note: "\(CountText.of(now.files)) of \(CountText.of(now.totalFiles, "file"))")
        }
    }
}
