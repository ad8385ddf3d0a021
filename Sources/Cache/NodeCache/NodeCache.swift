package import DatasetStore
package import ObjectStore
import Synchronization
package import System
import Telemetry

/// Chunks of packs on the node's own disk: verified once, shared by every reader of the node.
///
/// One process at a time uses a directory. All methods may be called from any thread.
package final class NodeCache: Sendable {
    let context: CacheContext
    let registry: ContainerRegistry
    let scheduler: FetchScheduler
    let statisticsKeeper: StatisticsKeeper
    let keeper: CacheKeeper
    let scrubber: BackgroundScrubber
    let pageFiller: PageFiller
    private let residentLimit = ResidentLimit()
    let isClosed = Atomic(false)
    private let metrics: MetricRegistration

    /// Opens or makes the cache in `directory` and takes its lock. `notice` is told, once each, of troubles
    /// that do not stop the cache, such as a full disk; it may be called from any thread. `sources` has the objects of
    /// imported snapshots.
    package init(
        directory: ByteString, options: CacheOptions = CacheOptions(),
        fileSystem: any FileSystem = HostFileSystem(), clock: any Clock = HostClock(),
        sources: any ObjectSources = NoObjectSources(), notice: @escaping @Sendable (String) -> Void
    ) throws(CacheError) {
        let layout = CacheLayout(directory: directory)
        let lock = try CacheDirectory.open(layout, fileSystem, notice: notice)
        context = CacheContext(
            files: fileSystem, clock: clock, layout: layout, options: options, sources: sources,
            lock: lock,
            counters: CacheCounters(continuing: StatisticsFile.read(layout, fileSystem)), notice: notice)
        registry = ContainerRegistry(context)
        scheduler = FetchScheduler(context, registry)
        statisticsKeeper = StatisticsKeeper(context, registry)
        keeper = CacheKeeper(context, registry)
        metrics = CacheMetrics.register(context.counters, keeper, in: .process)
        scrubber = BackgroundScrubber(context, registry) { [scheduler] in scheduler.isBusy }
        pageFiller = PageFiller(context) { [scheduler] in scheduler.isBusy }
        statisticsKeeper.start()
        keeper.start()
        scrubber.start()
    }

    deinit {
        // Not closed: nothing is marked clean, and the lock goes when the last thread lets go of it.
        keeper.stop()
        pageFiller.stop()
        scrubber.stop()
        statisticsKeeper.stop()
        scheduler.stop()
        metrics.retire()
    }

    /// The local twin of a pack, kept in the name of `tenant`: the same instance for the cache's life, but for one that
    /// another description of the pack replaces. Opens its files at the first call and again after they were closed or
    /// evicted; while the disk does not take them every read goes through to the store, and a call tries them
    /// again after a pause.
    package func container(
        for pack: PackReference, origin: any ObjectStore, tenant: CacheTenant = .shared
    ) throws(CacheError) -> Container {
        let container = try registry.container(for: pack, origin: origin)
        if tenant != .shared {
            container.tenant.store(tenant.index, ordering: .relaxed)
            container.sharers.bitwiseOr(1 << UInt64(tenant.index & 63), ordering: .relaxed)
        }
        if !container.isUsed.load(ordering: .relaxed) { container.isUsed.store(true, ordering: .relaxed) }
        return container
    }

    /// Has a complete container whose bytes mounts were given from memory read into the page cache, in the background
    /// (`Container.mountsHaveIt` is false afterwards).
    package func bringIntoPageCache(_ container: Container) { pageFiller.add(container) }

    /// Manifest images that are decompressed once into the directory and mapped.
    package func manifests(origin: ManifestObjects) -> any ManifestSource {
        ManifestCache(context, origin: origin)
    }

    /// Makes chunks readable and calls `completion` exactly once: on the caller's thread when it is a small miss and one
    /// of the inline slots is free, else on a fetch thread. Nobody waits inside for a chunk that another call fetches.
    ///
    /// One bad chunk fails the call; the others are filled all the same. A caller with many calls to make says so: then
    /// none of them keeps its thread.
    package func fetch(
        _ parts: [FetchPart], isOneOfMany: Bool = false,
        completion: @escaping @Sendable (Result<FetchedParts, CacheError>) -> Void
    ) {
        scheduler.submit(parts, isOneOfMany: isOneOfMany, completion)
    }

    /// Like `fetch`, for a caller that wants the chunks in the container and does not read them: always on fetch threads.
    func fill(_ parts: [FetchPart], completion: @escaping @Sendable (Result<Void, CacheError>) -> Void) {
        scheduler.submit(parts, for: .filling) { completion($0.map { _ in () }) }
    }

    /// To be told of every read of present chunks, so that readers are read ahead of before they miss.
    @inline(__always)
    package func didRead(_ container: Container, _ chunks: Range<Int>) {
        if container.isObserved.load(ordering: .relaxed) { scheduler.didRead(container, chunks) }
    }

    /// To be told of every reply from mappings of containers, each of which was told before (`Container.touch`), so
    /// that the process does not grow with them.
    @inline(__always)
    package func didReply(_ bytes: Int) {
        if residentLimit.isCrossed(by: bytes) { forgetResidentPages() }
    }

    private func forgetResidentPages() {
        for container in registry.known { container.forgetResidentPages() }
    }

    /// What the cache did and holds. Looks at every file of the directory.
    package func statistics() -> CacheStatistics {
        var statistics = statisticsKeeper.totals()
        let usage = StatisticsFile.usage(context.layout, context.files)
        statistics.containers = usage.containers
        statistics.allocatedBytes = usage.bytes
        return statistics
    }

    /// What a cache directory tells, whoever uses it now: up to a few seconds old.
    package static func statistics(
        of directory: ByteString, fileSystem: any FileSystem = HostFileSystem()
    ) -> CacheStatistics {
        let layout = CacheLayout(directory: directory)
        var statistics = StatisticsFile.read(layout, fileSystem)
        let usage = StatisticsFile.usage(layout, fileSystem)
        statistics.containers = usage.containers
        statistics.allocatedBytes = usage.bytes
        return statistics
    }

    /// Hashes every chunk on disk again and forgets the bad ones. `progress` is called after each container.
    package func scrub(_ progress: (ScrubReport) -> Void = { _ in }) throws(CacheError) -> ScrubReport {
        if isClosed.load(ordering: .acquiring) { throw CacheError(.closed, "the cache was closed") }
        return try Scrub(context: context, registry: registry).run(progress)
    }

    /// Makes what was filled durable, says so in the directory, and gives the lock back. Fetches that run
    /// are finished first; later ones fail with `closed`, as a scrub does. Containers stay mapped. Not to be called from a
    /// completion.
    package func close() { shutDown(markClean: true) }

    /// As a crash of the process would leave it, when `markClean` is false: for tests.
    func shutDown(markClean: Bool) {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        scheduler.close()
        keeper.stop()
        pageFiller.stop()
        scrubber.stop()
        statisticsKeeper.stop()
        if markClean {
            for container in registry.known { container.close() }
            keeper.save()
            statisticsKeeper.write()
        }
        statisticsKeeper.releaseLock()
    }
}
