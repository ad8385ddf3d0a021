import CKamlFeed
import Synchronization
import System
import Telemetry

/// What the feeds of this process count. Recording is a few uncontended atomics a batch.
final class FeedMetrics: Sendable {
    private let ended: Telemetry.Counter<FeedEndLabel>
    private let batches: Telemetry.Counter<NoLabels>
    private let records: Telemetry.Counter<NoLabels>
    private let bytes: Telemetry.Counter<FeedPlaneLabel>
    private let copied: Telemetry.Counter<NoLabels>
    private let failures: Telemetry.Counter<NoLabels>
    private let durations: Histogram<NoLabels>
    private let uses: Histogram<NoLabels>
    private let stalls: Telemetry.Counter<LabelPair<FeedSideLabel, FeedCauseLabel>>
    private let levels: Levels
    private let registration: MetricRegistration

    /// What a scrape sees as it is at that moment.
    private final class Levels: Sendable {
        let sessions = Atomic(0)
        let streams = Atomic(0)
        let batchesOut = Atomic(0)
        let window = Atomic(0)
        let lentBytes = Atomic(0)
    }

    /// A pod's word on how long it took for something is believed up to this.
    private static let longest: UInt64 = 3_600_000_000_000

    init(_ memory: SlabBudget, in registry: MetricsRegistry = .process) {
        ended = registry.counter(MetricCatalogue.feedSessionsEnded)
        batches = registry.counter(MetricCatalogue.feedBatches)
        records = registry.counter(MetricCatalogue.feedRecords)
        bytes = registry.counter(MetricCatalogue.feedBytes)
        copied = registry.counter(MetricCatalogue.feedCopiedBytes)
        failures = registry.counter(MetricCatalogue.feedBatchFailures)
        durations = registry.histogram(MetricCatalogue.feedBatchDurationSeconds)
        uses = registry.histogram(MetricCatalogue.feedBatchUseSeconds)
        stalls = registry.counter(MetricCatalogue.feedStallSeconds)
        let levels = Levels()
        self.levels = levels
        registration = registry.collect { collection in
            let out = levels.batchesOut.load(ordering: .relaxed)
            collection.add(MetricCatalogue.feedSessions, levels.sessions.load(ordering: .relaxed))
            collection.add(MetricCatalogue.feedStreams, levels.streams.load(ordering: .relaxed))
            collection.add(MetricCatalogue.feedBatchesOut, out)
            collection.add(
                MetricCatalogue.feedCredits, max(0, levels.window.load(ordering: .relaxed) - out))
            collection.add(MetricCatalogue.feedSlabBytes, memory.usedBytes)
            collection.add(MetricCatalogue.feedLentBytes, levels.lentBytes.load(ordering: .relaxed))
        }
    }

    deinit { registration.retire() }

    /// What the agent does now.
    var level: (sessions: Int, streams: Int) {
        (levels.sessions.load(ordering: .relaxed), levels.streams.load(ordering: .relaxed))
    }

    func sessionBegan() { levels.sessions.wrappingAdd(1, ordering: .relaxed) }

    func sessionEnded(_ reason: FeedEndLabel) {
        levels.sessions.wrappingSubtract(1, ordering: .relaxed)
        ended.add(1, reason)
    }

    func sessionRefused() { ended.add(1, .quota) }

    func streamBegan(window: Int) {
        levels.streams.wrappingAdd(1, ordering: .relaxed)
        levels.window.wrappingAdd(window, ordering: .relaxed)
    }

    /// `out`: batches that were never given back.
    func streamEnded(window: Int, out: Int, lentBytes: Int) {
        levels.streams.wrappingSubtract(1, ordering: .relaxed)
        levels.window.wrappingSubtract(window, ordering: .relaxed)
        levels.batchesOut.wrappingSubtract(out, ordering: .relaxed)
        levels.lentBytes.wrappingSubtract(lentBytes, ordering: .relaxed)
    }

    func lent(_ change: Int) {
        if change != 0 { levels.lentBytes.wrappingAdd(change, ordering: .relaxed) }
    }

    func gaveOut(
        records count: Int, mapped: Int, inSlots: Int, copied bytesCopied: Int, nanoseconds: UInt64,
        _ span: TraceSpan?
    ) {
        batches.add()
        records.add(UInt64(count))
        if mapped > 0 { bytes.add(UInt64(mapped), .mapped) }
        if inSlots > 0 { bytes.add(UInt64(inSlots), .slots) }
        if bytesCopied > 0 { copied.add(UInt64(bytesCopied)) }
        durations.record(nanoseconds, NoLabels(), span)
        levels.batchesOut.wrappingAdd(1, ordering: .relaxed)
    }

    func failed() { failures.add() }

    /// The two times are the pod's.
    func released(usedNanoseconds: UInt64, waitedNanoseconds: UInt64) {
        levels.batchesOut.wrappingSubtract(1, ordering: .relaxed)
        uses.record(min(usedNanoseconds, Self.longest))
        if waitedNanoseconds > 0 {
            stalls.add(min(waitedNanoseconds, Self.longest), LabelPair(.agent, .bytes))
        }
    }

    func stalled(_ cause: FeedCauseLabel, nanoseconds: UInt64) {
        stalls.add(nanoseconds, LabelPair(.pod, cause))
    }
}
