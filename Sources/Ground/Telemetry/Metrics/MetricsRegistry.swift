import Synchronization
package import System

/// All metrics of a process: instruments that hot paths add to, and collectors that are asked at each scrape for numbers
/// that somebody keeps anyway.
package final class MetricsRegistry: Sendable {
    /// The registry of this process, which `/metrics` shows.
    package static let process = MetricsRegistry()

    package typealias Collector = @Sendable (inout MetricCollection) -> Void

    private struct State: ~Copyable {
        var instruments: [Int: any Sendable & AnyObject] = [:]
        var collectors: [Int: Collector] = [:]
        var nextID = 0
        /// What collectors that went left behind.
        var retired: MetricCollection?
    }

    private let state = Monitor(State())
    private let admission = LabelAdmission()
    private let clock: any Clock
    private let lastScrape = Atomic<UInt64>(0)
    private let libraryDrops = Atomic<UInt64>(0)

    package init(clock: any Clock = HostClock()) { self.clock = clock }

    // MARK: Instruments

    /// The counter of this metric: the same one for all that ask.
    package func counter<Labels>(_ metric: CounterMetric<Labels>) -> Counter<Labels> {
        instrument(metric.descriptor) {
            Counter(metric)
        } collect: {
            $0.collect(into: &$1)
        }
    }

    /// The histogram of this metric: the same one for all that ask.
    package func histogram<Labels>(_ metric: HistogramMetric<Labels>) -> Histogram<Labels> {
        instrument(metric.descriptor) {
            Histogram(metric)
        } collect: {
            $0.collect(into: &$1)
        }
    }

    private func instrument<Instrument: AnyObject & Sendable>(
        _ descriptor: MetricDescriptor, _ make: () -> Instrument,
        collect: @escaping @Sendable (Instrument, inout MetricCollection) -> Void
    ) -> Instrument {
        state.withLock { state in
            if let known = state.instruments[descriptor.index] as? Instrument { return known }
            let made = make()
            state.instruments[descriptor.index] = made
            state.collectors[state.nextID] = { collect(made, &$0) }
            state.nextID += 1
            return made
        }
    }

    // MARK: Collectors

    /// Has `body` called at every scrape, on the scrape's thread: it should only read numbers that are at hand.
    @discardableResult
    package func collect(_ body: @escaping Collector) -> MetricRegistration {
        let id = state.withLock { state in
            state.collectors[state.nextID] = body
            state.nextID += 1
            return state.nextID - 1
        }
        return MetricRegistration(self, id)
    }

    /// Asks a collector for the last time. Its counters stay, since what is scraped must never fall.
    fileprivate func retire(_ id: Int) {
        guard let collector = state.withLock({ $0.collectors[id] }) else { return }
        var last = MetricCollection(admission)
        collector(&last)
        last.keepCountersOnly()
        // At once, so that no scrape misses them or counts them twice.
        state.withLock { state in
            guard state.collectors.removeValue(forKey: id) != nil else { return }
            if state.retired == nil { state.retired = last } else { state.retired?.add(last) }
        }
    }

    /// A library's metric that the catalogue does not list.
    package func countDroppedLibraryMetric() { libraryDrops.wrappingAdd(1, ordering: .relaxed) }

    // MARK: Scrapes

    /// All metrics as text.
    package func exposition(_ format: ExpositionFormat) -> [UInt8] {
        let start = clock.monotonicNanoseconds()
        var writer = ExpositionWriter(format)
        writer.write(collection())
        lastScrape.store(clock.monotonicNanoseconds() &- start, ordering: .relaxed)
        return writer.bytes
    }

    func collection() -> MetricCollection {
        var (collectors, retired) = state.withLock { state in
            (state.collectors.sorted { $0.key < $1.key }.map(\.value), state.retired)
        }
        var collection = retired.take() ?? MetricCollection(admission)
        for collector in collectors { collector(&collection) }
        for descriptor in MetricCatalogue.all where descriptor.cap != nil && descriptor.kind != .counter {
            admission.keep((collection.families[descriptor.index]?.texts ?? [:]).keys, of: descriptor)
        }
        collection.add(MetricCatalogue.metricsScrapeSeconds, lastScrape.load(ordering: .relaxed))
        collection.add(MetricCatalogue.metricsDropped, .labelCap, admission.refusals)
        collection.add(
            MetricCatalogue.metricsDropped, .notInCatalogue, libraryDrops.load(ordering: .relaxed))
        return collection
    }
}

/// A collector's place in a registry.
package final class MetricRegistration: Sendable {
    private let registry: MetricsRegistry
    private let id: Int

    fileprivate init(_ registry: MetricsRegistry, _ id: Int) {
        self.registry = registry
        self.id = id
    }

    /// Takes the collector out, once what it speaks of ends; its counters keep their last values.
    package func retire() { registry.retire(id) }
}
