import ArgumentParser
import Chunking
import DatasetStore
import KamlCommand
import ObjectStore
import RecordIndex
import System

/// `kaml index`.
struct IndexCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "index", abstract: "Find a snapshot's records, as a feed does.",
        discussion: """
              kaml index imagenet@v2                           what a feed of it would give out
              kaml index imagenet@v2 --path train --format files
              kaml index events --path 'day-*/**.jsonl.gz' -o json
              kaml index imagenet@v2 --publish                 and store the index, so that no node makes it again

            Formats: tfrecord (plain, gzip, zlib), tar (WebDataset), jsonl, fixed, files (a file is a record). Without
            --format the files' names tell it, and files of other formats are left out. All checksums of the records
            are verified: what is damaged is told with its file, record and offset.
            """)

    @Argument(help: "DATASET[@REF].", completion: NameCompletion.kind)
    var dataset: String
    @Option(
        name: .customLong("path"),
        help: .init(
            "Only files below this path, or that match it: * and ? stop at a slash, ** does not. May be given again.",
            valueName: "path"))
    var paths: [String] = []
    @Option(help: "How records lie in the files.")
    var format: RecordFormat?
    @Option(help: .init("Of the format fixed: the length of each record.", valueName: "n"))
    var recordBytes: UInt32 = 0
    @Option(help: .init("Of the format fixed: what precedes the records of a file.", valueName: "n"))
    var headerBytes: UInt32 = 0
    @Option(help: "Threads that read.")
    var threads: Int = DefaultThreads.count
    @Flag(help: "Store the index beside the snapshot.")
    var publish = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is 1 to 1024") }
    }

    func run() throws {
        let selection = try RecordSelection(
            paths: paths.map { ByteString(Array($0.utf8)) }, format: format, recordBytes: recordBytes,
            headerBytes: headerBytes)
        let store = try publish ? store.openForWriting() : store.open()
        let (snapshot, name, path) = try store.open(dataset)
        guard path.isEmpty else {
            throw Failure(.usage, "an index is of a whole snapshot", hint: "write --path \(path)")
        }
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let index = try Indexing.make(store, snapshot, selection, threads: threads)
        let published = publish ? try Indexing.publish(index, in: store) : nil
        answer(
            IndexReport(
                name, index, seconds: Double(clock.monotonicNanoseconds() - start) / 1e9, published: published
            ))
    }
}

extension RecordFormat: ExpressibleByArgument {
    public init?(argument: String) {
        guard let format = Self.allCases.first(where: { $0.name == argument }) else { return nil }
        self = format
    }

    public static var allValueStrings: [String] { allCases.map(\.name) }
}

/// Making an index for a command, with a bar.
enum Indexing {
    static func make(
        _ store: Store, _ snapshot: Snapshot, _ selection: RecordSelection,
        threads: Int = DefaultThreads.count
    ) throws -> RecordIndex {
        let indexes = RecordIndexes(directory: nil, threads: threads)
        let build = indexes.begin(snapshot, selection, StoreFiles(store, snapshot), published: store.objects)
        let result = try ProgressBar.during({ state(build.progress) }) { build.wait(milliseconds: nil) }
        guard let result else { preconditionFailure("waits to the end") }
        do throws(RecordIndexError) { return try result.get() } catch {
            var failure = Failure(error)
            failure.snapshot = snapshot.id.hex
            throw failure
        }
    }

    /// The object's key; nil, with a word to the user, when the index is not stored.
    static func publish(_ index: RecordIndex, in store: Store) throws -> String? {
        guard PublishedIndex.isWorthwhile(index.format) else {
            StandardError.write(
                "note: an index of the format \(index.format.name) is made without reading files, and not stored\n"
            )
            return nil
        }
        guard let key = try PublishedIndex.publish(index, in: store.objects) else {
            StandardError.write(
                "warning: the index has more than \(BytesText.of(UInt64(PublishedIndex.mostBytes))) and is not stored; nodes make it themselves\n"
            )
            return nil
        }
        return key.text
    }

    private static func state(_ progress: IndexProgress) -> ProgressState {
        ProgressState(
            label: "indexing", done: progress.bytesDone, total: progress.bytes > 0 ? progress.bytes : nil,
            note: CountText.of(progress.records, "record"))
    }
}
