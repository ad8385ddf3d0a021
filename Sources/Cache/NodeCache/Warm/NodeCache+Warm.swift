package import DatasetStore
package import ObjectStore
import Synchronization

/// How much of a plan a cache has.
package struct WarmReport: Sendable {
    package var chunks = 0
    package var presentChunks = 0
    /// Plain bytes.
    package var bytes: UInt64 = 0
    package var presentBytes: UInt64 = 0
    /// Plain bytes of the chunks that this run fetched.
    package var fetchedBytes: UInt64 = 0
    /// What could not be fetched: at most `listed` of them.
    package var failures: [CacheError] = []
    package var failureCount = 0
    /// Somebody asked for an end before all was done.
    package var isInterrupted = false

    package static let listed = 20

    package var isComplete: Bool { presentChunks == chunks }
}

/// What an eviction did.
package struct EvictReport: Sendable {
    package var packs = 0
    /// Bytes of blocks that became free.
    package var bytes: UInt64 = 0
    /// Packs that are in use, or pinned.
    package var kept = 0
}

extension NodeCache {
    /// How much of a plan the cache has now. Asks no store.
    package func residency(of plan: WarmPlan) -> WarmReport {
        var report = WarmReport()
        report.chunks = plan.chunks
        report.bytes = plan.bytes
        for share in plan.shares {
            let found = residency(of: share.pack, runs: share.runs)
            report.presentChunks += found.presentChunks
            report.presentBytes &+= found.presentBytes
        }
        return report
    }

    /// Fetches what is missing of a plan, pack by pack, `threads` ranges side by side, each chunk verified.
    ///
    /// `progress` counts plain bytes that were missing. `isCancelled` is asked between two ranges; what was fetched
    /// until then stays. What is damaged or gone is told in the report and left out. Throws when going on makes no
    /// sense: the store is away, or the cache's disk takes no more.
    package func warm(
        _ plan: WarmPlan, origin: any ObjectStore, threads: Int = 8, progress: WorkCounter = WorkCounter(),
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws(CacheError) -> WarmReport {
        let before = residency(of: plan)
        progress.begin(
            "warming", totalBytes: plan.bytes > before.presentBytes ? plan.bytes - before.presentBytes : 0)
        let run = WarmRun(self, plan, origin, progress, isCancelled)
        try run.run(threads: max(1, min(64, threads)))
        var report = residency(of: plan)
        report.fetchedBytes = progress.bytes.load(ordering: .relaxed)
        report.failures = run.failures
        report.failureCount = run.failureCount
        report.isInterrupted = !report.isComplete && isCancelled()
        return report
    }

    /// Removes a snapshot's containers. The cache does not know who else would read them: a pack that other snapshots
    /// share goes too, and is fetched again when they need it. What is in use or pinned stays.
    /// When `forgetting`, what first reads of imported objects found out goes with them.
    package func evict(
        _ packs: [PackReference], forgetting: Bool = false
    ) throws(CacheError) -> EvictReport {
        var report = EvictReport()
        for pack in packs {
            do throws(CacheError) {
                let freed = try evict(pack.id, forgetting: forgetting)
                if freed > 0 { report.packs += 1 }
                report.bytes &+= freed
            } catch {
                guard error.code == .inUse else { throw error }
                report.kept += 1
            }
        }
        return report
    }
}
