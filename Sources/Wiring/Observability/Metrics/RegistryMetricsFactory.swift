package import CoreMetrics
import Synchronization
package import Telemetry

/// What Swift libraries report through swift-metrics, as far as the catalogue has a name for it. The rest is dropped and
/// counted, since a library's labels may be anything.
package final class RegistryMetricsFactory: MetricsFactory {
    private let registry: MetricsRegistry

    package init(_ registry: MetricsRegistry = .process) { self.registry = registry }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        guard let metric = MetricCatalogue.libraryCounters[label] else { return dropped() }
        return LibraryCounter(registry.counter(metric))
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        guard let metric = MetricCatalogue.libraryGauges[label] else { return dropped() }
        let meter = LibraryMeter()
        meter.registration.withLock { [registry] registration in
            registration = registry.collect { [weak meter] collection in
                if let meter { collection.add(metric, meter.rounded) }
            }
        }
        return meter
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        guard let metric = MetricCatalogue.libraryHistograms[label] else { return dropped() }
        return LibraryTimer(registry.histogram(metric))
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        aggregate ? dropped() : LibraryGauge(makeMeter(label: label, dimensions: dimensions))
    }

    private func dropped() -> LibraryNothing {
        registry.countDroppedLibraryMetric()
        return LibraryNothing()
    }

    package func destroyCounter(_ handler: any CounterHandler) {}

    package func destroyMeter(_ handler: any MeterHandler) {
        (handler as? LibraryMeter)?.registration.withLock { $0?.retire() }
    }

    package func destroyRecorder(_ handler: any RecorderHandler) {
        if let gauge = handler as? LibraryGauge { destroyMeter(gauge.meter) }
    }

    package func destroyTimer(_ handler: any TimerHandler) {}
}

private final class LibraryCounter: CounterHandler {
    private let counter: Telemetry.Counter<NoLabels>

    init(_ counter: Telemetry.Counter<NoLabels>) { self.counter = counter }

    func increment(by amount: Int64) { counter.add(UInt64(clamping: amount)) }

    /// A counter that falls would read as a restart.
    func reset() {}
}

private final class LibraryTimer: TimerHandler {
    private let histogram: Histogram<NoLabels>

    init(_ histogram: Histogram<NoLabels>) { self.histogram = histogram }

    func recordNanoseconds(_ duration: Int64) { histogram.record(UInt64(clamping: duration)) }
}

private final class LibraryMeter: MeterHandler {
    private let value = Mutex(0.0)
    let registration = Mutex<MetricRegistration?>(nil)

    /// 0 for what is no number.
    var rounded: Int64 { value.withLock { Int64(exactly: $0.rounded()) ?? 0 } }

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { self.value.withLock { $0 = value } }
    func increment(by amount: Double) { value.withLock { $0 += amount } }
    func decrement(by amount: Double) { value.withLock { $0 -= amount } }
}

/// A recorder that does not aggregate is a gauge.
private final class LibraryGauge: RecorderHandler {
    let meter: any MeterHandler

    init(_ meter: any MeterHandler) { self.meter = meter }

    func record(_ value: Int64) { meter.set(value) }
    func record(_ value: Double) { meter.set(value) }
}

private final class LibraryNothing: CounterHandler, MeterHandler, TimerHandler, RecorderHandler {
    func increment(by: Int64) {}
    func increment(by: Double) {}
    func decrement(by: Double) {}
    func reset() {}
    func set(_ value: Int64) {}
    func set(_ value: Double) {}
    func record(_ value: Int64) {}
    func record(_ value: Double) {}
    func recordNanoseconds(_ duration: Int64) {}
}
