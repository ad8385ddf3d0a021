import ArgumentParser
import DatasetStore
import Glibc
import KamlCommand
import ObjectStore
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

/// `--store`.
struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("store"),
        help: .init("The store: file:///path, or a path. Without it KAML_STORE counts.", valueName: "url"),
        completion: .directory)
    var url: String?

    func objects() throws -> any ObjectStore { try StorePlace.url(url).open() }

    func open() throws -> Store {
        let place = try StorePlace.url(url)
        do throws(StoreError) {
            return try Store.open(place.open(), .init(author: StorePlace.author))
        } catch {
            throw Failure(opening: error, at: place)
        }
    }
}

extension Store {
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
        guard let place = try? StorePlace.url(url), let store = try? Store.open(place.open()),
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
