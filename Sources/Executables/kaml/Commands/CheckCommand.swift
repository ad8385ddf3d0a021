import ArgumentParser
import DatasetStore
import KamlCommand
import System

/// `kaml check`.
struct CheckCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Look for damage in a store, and tell what it hurts.",
        discussion: """
              kaml check                       log, manifests, packs: sizes, hashes, every reference
              kaml check --read-data           also every byte of every file
              kaml check imagenet -o json

            Each object is looked at once, however many snapshots share it. Exit code 5 when there is damage.
            """)

    @Argument(help: "Only the snapshots of these datasets.", completion: NameCompletion.kind)
    var datasets: [String] = []
    @Flag(help: "Also decode and hash every chunk.")
    var readData = false
    @Option(help: "Threads that read data.")
    var threads: Int = DefaultThreads.count
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is 1 to 1024") }
    }

    func run() throws {
        let store = try store.open()
        var options = CheckOptions()
        options.readsData = readData
        options.threads = threads
        if !datasets.isEmpty { options.datasets = Set(try datasets.map(NameArgument.dataset)) }
        let counter = WorkCounter()
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let check = StoreCheck(store.objects, options: options, progress: counter)
        let report = try withProgress(counter, noun: "objects") { try check.run() }
        answer(CheckText(report, seconds: Double(clock.monotonicNanoseconds() - start) / 1e9))
        // The report says it all.
        if !report.isSound { throw ArgumentParser.ExitCode(ExitStatus.damaged.rawValue) }
    }
}
