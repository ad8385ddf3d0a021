import Telemetry

/// What fetches are counted in.
struct FetchMetrics: Sendable {
    let requests: Counter<FetchedFromLabel>
    let bytes: Counter<FetchedFromLabel>
    let firstBytes: Histogram<FetchedFromLabel>
    let durations: Histogram<FetchedFromLabel>

    /// Those of the process.
    static let process = FetchMetrics(.process)

    init(_ registry: MetricsRegistry) {
        requests = registry.counter(MetricCatalogue.fetchRequests)
        bytes = registry.counter(MetricCatalogue.fetchBytes)
        firstBytes = registry.histogram(MetricCatalogue.fetchFirstByteSeconds)
        durations = registry.histogram(MetricCatalogue.fetchDurationSeconds)
    }
}
