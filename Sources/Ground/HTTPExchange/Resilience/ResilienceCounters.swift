import Synchronization

/// The live counters behind `ResilienceStatistics`.
final class ResilienceCounters: Sendable {
    enum Event { case request, retry, hedge, hedgeWin, throttle, resume, failure }

    private let requests = Atomic<UInt64>(0)
    private let retries = Atomic<UInt64>(0)
    private let hedges = Atomic<UInt64>(0)
    private let hedgeWins = Atomic<UInt64>(0)
    private let throttles = Atomic<UInt64>(0)
    private let resumed = Atomic<UInt64>(0)
    private let failures = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)
    private let metrics: StoreMetrics

    init(_ metrics: StoreMetrics) { self.metrics = metrics }

    func count(_ event: Event) {
        metrics.count(event)
        switch event {
        case .request: requests.wrappingAdd(1, ordering: .relaxed)
        case .retry: retries.wrappingAdd(1, ordering: .relaxed)
        case .hedge: hedges.wrappingAdd(1, ordering: .relaxed)
        case .hedgeWin: hedgeWins.wrappingAdd(1, ordering: .relaxed)
        case .throttle: throttles.wrappingAdd(1, ordering: .relaxed)
        case .resume: resumed.wrappingAdd(1, ordering: .relaxed)
        case .failure: failures.wrappingAdd(1, ordering: .relaxed)
        }
    }

    func add(bytes count: Int) { bytes.wrappingAdd(UInt64(count), ordering: .relaxed) }

    var snapshot: ResilienceStatistics {
        var statistics = ResilienceStatistics()
        statistics.requests = requests.load(ordering: .relaxed)
        statistics.retries = retries.load(ordering: .relaxed)
        statistics.hedges = hedges.load(ordering: .relaxed)
        statistics.hedgeWins = hedgeWins.load(ordering: .relaxed)
        statistics.throttles = throttles.load(ordering: .relaxed)
        statistics.resumed = resumed.load(ordering: .relaxed)
        statistics.failures = failures.load(ordering: .relaxed)
        statistics.bytes = bytes.load(ordering: .relaxed)
        return statistics
    }
}
