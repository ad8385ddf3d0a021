import DatasetFS
import System
import Telemetry

/// What a session tells a scrape, and what its workers record.
struct SessionMetrics: Sendable {
    /// From this age on a request hangs.
    static let hungAfter: UInt64 = 30_000_000_000

    let registry: MetricsRegistry
    let durations: Histogram<TierLabel>
    let bytes: Telemetry.Counter<TierLabel>

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        durations = registry.histogram(MetricCatalogue.readDurationSeconds)
        bytes = registry.counter(MetricCatalogue.readBytes)
    }

    /// Does not keep the session.
    func register(_ core: SessionCore) -> MetricRegistration {
        registry.collect { [weak core] collection in core?.collect(into: &collection) }
    }
}

extension SessionCore {
    fileprivate func collect(into collection: inout MetricCollection) {
        let statistics = statistics()
        let opcodes: [(OpcodeLabel, UInt64)] = [
            (.lookup, statistics.lookups), (.getattr, statistics.attributeReads),
            (.readlink, statistics.linkReads), (.open, statistics.opens), (.read, statistics.reads),
            (.release, statistics.releases), (.getxattr, statistics.extendedAttributeReads),
            (.opendir, statistics.directoryOpens), (.readdir, statistics.directoryReads),
            (.other, statistics.otherRequests),
        ]
        for (opcode, count) in opcodes { collection.add(MetricCatalogue.fuseRequests, opcode, count) }
        collection.add(MetricCatalogue.fuseErrors, statistics.errors)
        collection.add(MetricCatalogue.fusePassthroughOpens, statistics.passthroughOpens)
        if let dataset { collection.add(MetricCatalogue.mountReadBytes, [dataset], statistics.readBytes) }
        let isServing = phases.withLock { $0.handshake != nil && !$0.hasEnded }
        collection.add(MetricCatalogue.mounts, isServing ? 1 : 0)

        let age = oldestRequestAge(now: HostClock().monotonicNanoseconds())
        collection.raise(MetricCatalogue.fuseOldestRequestSeconds, to: age)
        collection.add(MetricCatalogue.mountHung, isServing && age > SessionMetrics.hungAfter ? 1 : 0)
        // A read may be answered by another thread, long after its worker went on.
        let others = workers.count { $0.isBusyWithoutReading }
        let reads = statistics.reads - min(statistics.reads, statistics.readsAnswered)
        collection.add(MetricCatalogue.fuseRequestsInFlight, UInt64(others) + reads)
    }

    /// Nanoseconds; 0 when nothing is unanswered.
    func oldestRequestAge(now: UInt64) -> UInt64 {
        let oldest = min(
            workers.lazy.compactMap(\.busySince).min() ?? now, operations.oldestWaitingRead ?? now)
        return now - min(oldest, now)
    }
}
