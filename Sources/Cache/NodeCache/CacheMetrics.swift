import Telemetry

/// A cache's counters, as a scrape sees them.
enum CacheMetrics {
    static func register(_ context: CacheContext, in registry: MetricsRegistry) -> MetricRegistration {
        let counters = context.counters
        return registry.collect { collection in
            let totals = counters.totals
            collection.add(MetricCatalogue.fetchManifestBytes, totals.manifestBytes)
            collection.add(MetricCatalogue.cacheFilledBytes, totals.filledBytes)
            collection.add(MetricCatalogue.cacheVerifiedChunks, totals.verifiedChunks)
            collection.add(MetricCatalogue.cacheVerificationFailures, totals.failedChunks)
            collection.add(MetricCatalogue.cacheRecheckedChunks, totals.recheckedChunks)
            collection.add(MetricCatalogue.cacheRejectedChunks, totals.rejectedChunks)
            collection.add(MetricCatalogue.cacheReadThroughChunks, totals.readThroughs)
        }
    }
}
