import ArgumentParser
import DatasetStore
import Glibc
import KamlCommand
import NodeCache
import Synchronization
import System

/// `kaml check`.
struct CheckCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Look for damage in a store, and tell what it hurts.",
        discussion: """
              kaml check                       log, manifests, packs: sizes, hashes, every reference
              kaml check --read-data           also every byte of every file
              kaml check imagenet -o json
              kaml check --cache-dir /var/cache/kaml     every chunk of a node's cache instead; no mount may use it

            Each object is looked at once, however many snapshots share it. Exit code 5 when there is damage. Damage in a
            cache repairs itself: what is bad is forgotten, and fetched again when it is needed.
            """)

    @Argument(help: "Only the snapshots of these datasets.", completion: NameCompletion.kind)
    var datasets: [String] = []
    @Option(help: "Check the node's cache in this directory instead of a store.", completion: .directory)
    var cacheDir: String?
    @OptionGroup var cacheKey: CacheKeyOptions
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
        if let cacheDir {
            try checkCache(try CachePlace.absolute(RawArguments.bytes(of: cacheDir)))
        } else {
            try checkStore()
        }
    }

    private func checkCache(_ directory: ByteString) throws {
        do throws(Errno) { _ = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY) } catch {
            throw Failure("there is no cache in \(directory)", error)
        }
        let cache = try NodeCache(directory: directory, options: try cacheKey.cacheOptions()) {
            StandardError.write("kaml: \($0)\n")
        }
        defer { cache.close() }
        let counter = WorkCounter()
        counter.begin("cache")
        let report = try withProgress(counter, noun: "containers") {
            try cache.scrub { report in
                counter.bytes.store(report.bytes, ordering: .relaxed)
                counter.items.store(report.containers, ordering: .relaxed)
            }
        }
        answer(CacheCheckReport(directory.description, report))
        if report.badChunks > 0 { throw ArgumentParser.ExitCode(ExitStatus.damaged.rawValue) }
    }

    private func checkStore() throws {
        let store = try store.open()
        var options = CheckOptions()
        options.readsData = readData
        options.threads = threads
        if !datasets.isEmpty { options.datasets = Set(try datasets.map(NameArgument.dataset)) }
        let counter = WorkCounter()
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let check = StoreCheck(
            store.objects, sources: store.sources, options: options, progress: counter)
        let report = try withProgress(counter, noun: "objects") { try check.run() }
        answer(
            CheckText(
                report, seconds: Double(clock.monotonicNanoseconds() - start) / 1e9,
                temporary: TemporaryObjects(of: store.objects)))
        // The report says it all.
        if !report.isSound { throw ArgumentParser.ExitCode(ExitStatus.damaged.rawValue) }
    }
}
