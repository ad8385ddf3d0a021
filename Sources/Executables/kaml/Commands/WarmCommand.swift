import ArgumentParser
import Chunking
import DatasetStore
import KamlCommand
import NodeCache
import ObjectStore
import Synchronization
import System

/// `kaml warm`.
struct WarmCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "warm", abstract: "Bring a snapshot's data into this node's cache before it is needed.",
        discussion: """
              kaml warm imagenet@v2
              kaml warm imagenet@v2 train/n01440764 labels.csv       these only
              kaml warm imagenet@v2 --check                          how much is here; exit code 1 unless all is
              kaml warm imagenet@v2 --evict                          makes the room free again

            Every chunk is verified. What is here is not fetched again, so the command can be interrupted at any time and run
            again. A snapshot that is warm is mounted and read without a request for its data; only its name is looked up in
            the store.

            Where an agent runs, it fetches into its cache. Without one, one process at a time uses a cache directory: while a
            mount uses it, read the files through the mount instead, or give that mount a --cache-dir of its own.
            """)

    @Argument(help: "DATASET[@REF].", completion: NameCompletion.kind)
    var snapshot: String
    @Argument(help: "Files and directories of it; all if none is given.")
    var paths: [String] = []
    @Flag(help: "Fetch nothing: tell how much is here.")
    var check = false
    @Flag(help: "Drop the snapshot's packs from the cache. Those that it shares with others go too.")
    var evict = false
    @Flag(help: "With --evict: also forget the hashes that first reads of imported objects found out.")
    var forget = false
    @Option(help: "The cache's directory; as for `kaml mount` if not given.", completion: .directory)
    var cacheDir: String?
    @OptionGroup var cacheKey: CacheKeyOptions
    @Option(help: "Ranges of 8 MiB that are fetched side by side.")
    var threads = 8
    @OptionGroup var agent: AgentUse
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !(check && evict) else { throw ValidationError("--check and --evict exclude each other") }
        guard evict || !forget else { throw ValidationError("--forget goes with --evict") }
        guard !evict || paths.isEmpty else {
            throw ValidationError("--evict drops a whole snapshot: packs hold many files each")
        }
        guard (1...64).contains(threads) else { throw ValidationError("--threads is 1 to 64") }
    }

    func run() throws {
        if try agent.isWanted { return try askAgent() }
        let cancellation = Cancellation()
        // Before any thread is there, since threads inherit what is blocked.
        if !check && !evict { try cancellation.start() }
        let store = try store.open()
        let place = try SnapshotReference(snapshot)
        let found = try store.find(place, in: try store.state())
        let directory = try CachePlace.directory(cacheDir)
        try CacheDirectoryCheck.prepare(directory)
        let cache = try open(directory, store.sources)
        defer { cache.close() }
        let opened: Snapshot
        do throws(StoreError) {
            opened = try Snapshot(found.snapshot, from: cache.manifests(origin: store.manifests))
        } catch { throw Failure(error.ofPromised.at(dataset: found.dataset.text)) }
        if evict {
            answer(try evict(opened, "\(place)", from: cache, directory))
        } else {
            try warm(opened, "\(place)", into: cache, directory, store, cancellation)
        }
    }

    private func open(_ directory: ByteString, _ sources: any ObjectSources) throws -> NodeCache {
        let options = try cacheKey.cacheOptions()
        do throws(CacheError) {
            return try NodeCache(directory: directory, options: options, sources: sources) {
                StandardError.write("warning: \(CellText.safe($0))\n")
            }
        } catch {
            var failure = Failure(error)
            if error.code == .inUse {
                failure.hint =
                    "while a mount uses the cache, read the files through it (cat FILES > /dev/null); or unmount it, warm, "
                    + "and mount again"
            }
            throw failure
        }
    }

    private func warm(
        _ snapshot: Snapshot, _ name: String, into cache: NodeCache, _ directory: ByteString, _ store: Store,
        _ cancellation: Cancellation
    ) throws {
        let counter = WorkCounter()
        counter.begin("manifests")
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let (plan, report) = try withProgress(counter, noun: "chunks") {
            let plan = try WarmPlan(snapshot, paths: paths.map(RawArguments.bytes(of:)))
            if check { return (plan, cache.residency(of: plan)) }
            return (
                plan,
                try cache.warm(plan, origin: store.objects, threads: threads, progress: counter) {
                    cancellation.isAsked
                }
            )
        }
        let seconds = Double(clock.monotonicNanoseconds() - start) / 1e9
        var figures = WarmFigures(name: name, snapshot: snapshot.id.hex, directory: directory)
        figures.files = plan.files
        figures.packs = UInt64(plan.packCount)
        figures.chunks = UInt64(report.chunks)
        figures.presentChunks = UInt64(report.presentChunks)
        figures.bytes = report.bytes
        figures.presentBytes = report.presentBytes
        figures.fetchedBytes = report.fetchedBytes
        figures.failedFetches = UInt64(report.failureCount)
        figures.failures = report.failures.map { Failure($0).errorValue }
        figures.isInterrupted = report.isInterrupted
        try finish(figures, seconds, firstFailure: report.failures.first?.description)
    }

    /// Answers, and ends as the figures say.
    func finish(_ figures: WarmFigures, _ seconds: Double, firstFailure: String?) throws {
        answer(WarmText(figures, seconds: check ? nil : seconds))
        if figures.failedFetches > 0 {
            throw Failure(
                .damaged, "\(CountText.of(figures.failedFetches, "range")) could not be fetched",
                why: firstFailure, hint: "`kaml check --read-data` tells all that is damaged")
        }
        if figures.isInterrupted { throw ArgumentParser.ExitCode(Cancellation.exitCode) }
        if !figures.isComplete { throw ArgumentParser.ExitCode(ExitStatus.failure.rawValue) }
    }

    private func evict(
        _ snapshot: Snapshot, _ name: String, from cache: NodeCache, _ directory: ByteString
    ) throws -> Done {
        let report = try cache.evict(snapshot.packs, forgetting: forget)
        return Self.evicted(
            name, snapshot.id.hex, directory, packs: UInt64(report.packs), bytes: report.bytes,
            kept: UInt64(report.kept))
    }

    static func evicted(
        _ name: String, _ snapshot: String, _ directory: ByteString, packs: UInt64, bytes: UInt64,
        kept: UInt64
    ) -> Done {
        var object = OutputObject([
            "name": .string(name), "snapshot": .string(snapshot), "evictedPacks": .unsigned(packs),
            "freedBytes": .unsigned(bytes), "keptPacks": .unsigned(kept),
        ])
        object.set("cacheDirectory", directory)
        var text = "nothing of \(CellText.safe(name)) is in \(directory)"
        if packs > 0 {
            text = "\(CountText.of(packs, "pack")) of \(CellText.safe(name)) dropped from \(directory), "
            text += "\(BytesText.of(bytes)) free again"
        }
        if kept > 0 { text += "; \(CountText.of(kept, "pack")) stayed, being used or pinned" }
        return Done(text, object.value)
    }
}

/// Ctrl-C as a wish that the work looks at, so that it ends in order; another one later ends it at once.
private final class Cancellation: Sendable {
    /// As of a process that SIGINT ended.
    static let exitCode: Int32 = 130
    /// timeout(1) and some shells send a signal to the process and to its group: that is one wish.
    private static let patience: UInt64 = 500_000_000
    private let asked = Atomic(false)
    private let firstTime = Atomic<UInt64>(0)

    var isAsked: Bool { asked.load(ordering: .relaxed) }

    func start() throws {
        EndSignals.block()
        try EndSignals.handle { [self] _, count in
            asked.store(true, ordering: .relaxed)
            let now = HostClock().monotonicNanoseconds()
            if count == 1 {
                firstTime.store(now, ordering: .relaxed)
            } else if now &- firstTime.load(ordering: .relaxed) > Self.patience {
                EndSignals.endNow(Self.exitCode)
            }
        }
    }
}
