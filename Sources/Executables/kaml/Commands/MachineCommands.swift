import ArgumentParser
import DatasetStore
import KamlCommand
import NodeCache
import ObjectStore
import Stores
import System

/// `kaml stats`.
struct StatsCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Tell how much a store or a cache holds, and what deduplication saves.",
        discussion: """
              kaml stats
              kaml stats imagenet -o json
              kaml stats --cache-dir /var/cache/kaml
            """)

    @Argument(help: "Only this dataset.", completion: NameCompletion.kind)
    var dataset: String?
    @Option(help: "Of the node's cache in this directory instead.", completion: .directory)
    var cacheDir: String?
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        if let cacheDir {
            let directory = try CachePlace.absolute(RawArguments.bytes(of: cacheDir))
            answer(CacheReport(directory.description, NodeCache.statistics(of: directory)))
            return
        }
        let store = try store.open()
        if store.configuration.isSingleWriter {
            StandardError.write(
                "note: the store is single-writer: let only one program write to it at a time\n")
        }
        let dataset = try dataset.map(NameArgument.dataset)
        let counter = WorkCounter()
        let statistics = try withProgress(counter, noun: "packs") {
            try StoreStatistics.gather(store, dataset: dataset, progress: counter)
        }
        answer(StatsReport(statistics, isWhole: dataset == nil))
    }
}

/// `kaml doctor`.
struct DoctorCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look at this machine and the store, and tell what to fix.",
        discussion: """
              kaml doctor
              kaml doctor --cache-dir /mnt/ssd/kaml -o json

            Exit code 1 when something fails; a warning costs speed or comfort only.
            """)

    @Option(help: "The cache directory to look at.", completion: .directory)
    var cacheDir: String?
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let facts = HostFacts.gather(cacheDirectory: try CachePlace.directory(cacheDir))
        let objects = try (try? StorePlace.url(store.url)).map { try store.opener.open($0) }
        let diagnosis = Diagnosis(facts.judge() + StoreExamination.findings(objects))
        answer(diagnosis)
        if diagnosis.verdict == .fail { throw ArgumentParser.ExitCode(ExitStatus.failure.rawValue) }
    }
}

/// `kaml version`.
struct VersionCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Tell the versions of kaml, of its format and of its libraries.",
        discussion: "  kaml version -o json")

    @OptionGroup var output: OutputOptions

    func run() throws { answer(Versions()) }
}
