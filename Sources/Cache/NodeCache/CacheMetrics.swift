import System
import Telemetry

/// A cache's counters and books, as a scrape sees them: no call of the disk.
enum CacheMetrics {
    static func register(
        _ counters: CacheCounters, _ keeper: CacheKeeper, in registry: MetricsRegistry
    ) -> MetricRegistration {
        registry.collect { collection in
            add(counters.totals, to: &collection)
            add(keeper.usage(), to: &collection)
            let condition = keeper.context.health.withLock { $0.condition }
            collection.add(MetricCatalogue.cacheDiskFault, .directory, condition.isAway ? 1 : 0)
            collection.add(MetricCatalogue.cacheDiskFault, .refused, condition.isRefused ? 1 : 0)
            collection.add(MetricCatalogue.cacheDiskFault, .slow, condition == .degraded(.slow) ? 1 : 0)
        }
    }

    private static func add(_ totals: CacheStatistics, to collection: inout MetricCollection) {
        collection.add(MetricCatalogue.fetchManifestBytes, totals.manifestBytes)
        collection.add(MetricCatalogue.cacheFilledBytes, totals.filledBytes)
        collection.add(MetricCatalogue.cacheVerifiedChunks, totals.verifiedChunks)
        collection.add(MetricCatalogue.cacheVerificationFailures, totals.failedChunks)
        collection.add(MetricCatalogue.cacheRecheckedChunks, totals.recheckedChunks)
        collection.add(MetricCatalogue.cacheRejectedChunks, totals.rejectedChunks)
        collection.add(MetricCatalogue.cacheReadThroughChunks, totals.readThroughs)
        collection.add(MetricCatalogue.cacheScrubbedBytes, totals.scrubbedBytes)
        collection.add(MetricCatalogue.cacheEvictions, totals.evictedContainers)
        collection.add(MetricCatalogue.cacheEvictedBytes, totals.evictedBytes)
    }

    private static func add(_ usage: CacheUsage, to collection: inout MetricCollection) {
        collection.add(MetricCatalogue.cacheUsedBytes, usage.usedBytes)
        collection.add(MetricCatalogue.cacheContainers, usage.containers)
        collection.add(MetricCatalogue.cacheOpenContainers, usage.openContainers)
        collection.add(MetricCatalogue.cacheInodes, usage.usedInodes)
        collection.add(MetricCatalogue.cachePinnedBytes, usage.pinnedBytes)
        collection.add(MetricCatalogue.cacheLimitBytes, usage.limitBytes)
        collection.add(MetricCatalogue.cacheLimitInodes, usage.limitInodes)
        collection.add(MetricCatalogue.cacheDedupSavedBytes, usage.sharedBytes)
    }
}

extension CacheCondition {
    fileprivate var isAway: Bool { self == .degraded(.noDirectory) || self == .degraded(.displaced) }

    fileprivate var isRefused: Bool {
        if case .degraded(.refused) = self { true } else { false }
    }
}
