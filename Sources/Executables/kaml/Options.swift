import ArgumentParser
import DatasetStore
import Glibc
import KamlCommand
import ObjectStore
import S3
import Stores
import Synchronization
import System

extension OutputFormat: ExpressibleByArgument {}

/// A command that answers on stdout in a format of the user's choice.
protocol AnsweringCommand: ParsableCommand {
    var output: OutputOptions { get }
}

extension AnsweringCommand {
    func answer(_ report: some Report) {
        let stdout = StandardOutput()
        stdout.write(report.rendered(as: output.format))
        stdout.flush()
    }
}

/// `-o`.
struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .customLong("output")], help: "How to answer: table, json or yaml.")
    var format: OutputFormat = .table
}

/// `--store`, and how buckets are reached.
struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("store"),
        help: .init(
            "The store: file:///path, a path, or s3://bucket/prefix. Without it KAML_STORE counts.",
            valueName: "url"),
        completion: .directory)
    var url: String?

    @Option(
        help: .init(
            "The S3 server, as https://host:port; AWS without it. Else KAML_S3_ENDPOINT or AWS_ENDPOINT_URL.",
            valueName: "url"))
    var endpoint: String?
    @Option(
        help: .init("The bucket's region. Else AWS_REGION, or the profile's.", valueName: "name"))
    var region: String?
    @Option(
        help: .init(
            "How requests name the bucket: path (https://host/bucket) or virtual (https://bucket.host).",
            valueName: "style"))
    var s3Style: S3Location.Style?
    // Not --profile, which is the mount's.
    @Option(
        name: .customLong("s3-profile"),
        help: .init(
            "Take credentials from this profile of ~/.aws/credentials and ~/.aws/config only.",
            valueName: "name"))
    var profile: String?
    @Option(
        help: .init("Trust these certificates (PEM) instead of the system's.", valueName: "file"),
        completion: .file())
    var caFile: String?
    @Option(
        help: .init("Reach S3 through this proxy. Else https_proxy and no_proxy.", valueName: "url"))
    var proxy: String?
    @Option(
        help: .init(
            "How long a request waits for a bucket that is away, 1 to 3600. Else KAML_S3_PATIENCE, or 30.",
            valueName: "seconds"))
    var patience: Int?

    func validate() throws {
        if let patience, !StoreSettings.patienceRange.contains(patience) {
            throw ValidationError("--patience is a whole number of seconds, 1 to 3600")
        }
    }

    var settings: StoreSettings {
        get throws {
            StoreSettings(
                s3: S3Settings(endpoint: endpoint, region: region, style: s3Style, profile: profile),
                caFile: caFile, proxy: proxy, patience: patience)
        }
    }

    /// What opens this command's stores and sources: one for each process, so that they share connections.
    var opener: StoreOpener {
        get throws {
            let settings = try settings
            return Self.openers.withLock { openers in
                if let known = openers[settings] { return known }
                let opener = StoreOpener(settings)
                openers[settings] = opener
                return opener
            }
        }
    }
    private static let openers = Mutex<[StoreSettings: StoreOpener]>([:])

    func objects() throws -> any ObjectStore { try opener.open(try StorePlace.url(url)) }

    /// For commands that write: says so when nothing but the user keeps writers apart.
    func openForWriting() throws -> Store {
        let store = try open()
        store.warnOfOtherWriters()
        return store
    }

    func open() throws -> Store {
        let place = try StorePlace.url(url)
        let objects = try opener.open(place)
        let sources = try opener.sources(for: place)
        do throws(StoreError) {
            return try Store.open(objects, .init(author: StorePlace.author, sources: sources))
        } catch {
            throw Failure(opening: error, at: place)
        }
    }
}

extension S3Location.Style: ExpressibleByArgument {}

extension Store {
    func warnOfOtherWriters() {
        guard configuration.isSingleWriter else { return }
        StandardError.write(
            """
            note: this store is single-writer: the server keeps no two programs from writing at the same time, \
            not even to different datasets. Commits can be lost, or the log damaged: let one write at a time\n
            """)
    }

    /// The snapshot that an argument names, with the errors that a person needs.
    func find(_ reference: SnapshotReference, in state: LogState) throws -> ResolvedSnapshot {
        do throws(SnapshotReferenceError) { return try reference.resolve(in: state) } catch {
            throw Failure(error, in: state)
        }
    }

    func open(_ argument: String) throws -> (snapshot: Snapshot, name: String, path: ByteString) {
        let place = try ReferencePath(RawArguments.bytes(of: argument))
        let found = try find(place.reference, in: try state())
        do throws(StoreError) {
            return (try snapshot(found.snapshot), "\(place.reference)", place.path)
        } catch { throw Failure(error.ofPromised.at(dataset: found.dataset.text)) }
    }
}

/// Arguments as names, with an error that says what a name is.
enum NameArgument {
    static func dataset(_ text: String) throws -> DatasetName {
        guard let name = DatasetName(text) else { throw invalid(text, "a dataset") }
        return name
    }

    static func ref(_ text: String, _ what: String) throws -> RefName {
        guard let name = RefName(text) else { throw invalid(text, what) }
        return name
    }

    private static func invalid(_ text: String, _ what: String) -> Failure {
        Failure(
            .usage, "\"\(text)\" cannot name \(what)",
            hint: "names are made of A-Z a-z 0-9 . _ - and /, no part starts with . or -, at most 200 bytes")
    }
}

/// Names for the shell to complete: datasets, and after an @ their branches and tags.
enum NameCompletion {
    static let kind = CompletionKind.custom { arguments, _, prefix in names(prefix, arguments) }

    static func names(_ prefix: String, _ arguments: [String]) -> [String] {
        var url: String?
        for (index, argument) in arguments.enumerated() {
            if argument == "--store", index + 1 < arguments.count { url = arguments[index + 1] }
            if argument.hasPrefix("--store=") { url = String(argument.dropFirst("--store=".count)) }
        }
        guard let place = try? StorePlace.url(url),
            let objects = try? StoreOpener().open(place), let store = try? Store.open(objects),
            let state = try? store.state()
        else { return [] }
        guard prefix.contains("@") else { return state.datasets.keys.map(\.text).sorted() }
        return state.datasets.sorted { $0.key < $1.key }.flatMap { name, dataset in
            (Array(dataset.branches.keys) + Array(dataset.tags.keys)).sorted().map { "\(name)@\($0)" }
        }
    }
}

/// Work with a bar on stderr.
func withProgress<Result>(_ counter: WorkCounter, noun: String, _ work: () throws -> Result) throws -> Result
{
    try ProgressBar.during(
        {
            let items = counter.items.load(ordering: .relaxed)
            let total = counter.totalBytes.load(ordering: .relaxed)
            return ProgressState(
                label: counter.phase, done: counter.bytes.load(ordering: .relaxed),
                total: total > 0 ? total : nil,
                note: items > 0 ? "\(CountText.of(items)) \(noun)" : "")
        }, work)
}

/// Threads that work side by side unless the user says otherwise.
enum DefaultThreads {
    static var count: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
