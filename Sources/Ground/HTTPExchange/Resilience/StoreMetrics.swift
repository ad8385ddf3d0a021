package import Telemetry

/// What requests to stores are counted in.
package struct StoreMetrics: Sendable {
    let requests: Counter<LabelPair<OperationLabel, OutcomeLabel>>
    let durations: Histogram<OperationLabel>
    let firstBytes: Histogram<OperationLabel>
    let received: Counter<NoLabels>
    let retries: Counter<NoLabels>
    let resumes: Counter<NoLabels>
    let hedges: Counter<NoLabels>
    let hedgeWins: Counter<NoLabels>
    let throttles: Counter<NoLabels>
    let failures: Counter<NoLabels>

    /// Those of the process.
    package static let process = StoreMetrics(.process)

    package init(_ registry: MetricsRegistry) {
        requests = registry.counter(MetricCatalogue.storeRequests)
        durations = registry.histogram(MetricCatalogue.storeRequestDurationSeconds)
        firstBytes = registry.histogram(MetricCatalogue.storeFirstByteSeconds)
        received = registry.counter(MetricCatalogue.storeReceivedBytes)
        retries = registry.counter(MetricCatalogue.storeRetries)
        resumes = registry.counter(MetricCatalogue.storeResumes)
        hedges = registry.counter(MetricCatalogue.storeHedges)
        hedgeWins = registry.counter(MetricCatalogue.storeHedgeWins)
        throttles = registry.counter(MetricCatalogue.storeThrottles)
        failures = registry.counter(MetricCatalogue.storeFailures)
    }

    func count(_ event: ResilienceCounters.Event) {
        switch event {
        case .request: break
        case .retry: retries.add()
        case .hedge: hedges.add()
        case .hedgeWin: hedgeWins.add()
        case .throttle: throttles.add()
        case .resume: resumes.add()
        case .failure: failures.add()
        }
    }

    /// One attempt has ended.
    func count(_ request: HTTPRequest, _ end: AttemptRunner.End, _ span: TraceSpan?) {
        let operation = OperationLabel(request.method)
        requests.add(1, LabelPair(operation, OutcomeLabel(end.result)))
        durations.record(end.time, operation, span)
        if let firstByte = end.firstByte { firstBytes.record(firstByte, operation, span) }
        received.add(end.bytes)
    }
}

extension OperationLabel {
    fileprivate init(_ method: HTTPMethod) {
        switch method {
        case .get: self = .get
        case .head: self = .head
        case .put: self = .put
        case .post: self = .post
        case .delete: self = .delete
        }
    }
}

extension OutcomeLabel {
    fileprivate init(_ result: AttemptResult) {
        switch result {
        case .delivered: self = .success
        case .retry(let isThrottle, _, let error): self = isThrottle ? .throttled : OutcomeLabel(error)
        case .failed(let error), .ended(let error): self = OutcomeLabel(error)
        }
    }

    fileprivate init(_ error: HTTPError) {
        switch error.code {
        case .cannotResolve, .cannotConnect, .untrusted, .connectionLost: self = .connection
        case .timedOut: self = .timeout
        case .malformed, .unexpected: self = .malformed
        case .refused: self = error.status == 404 ? .notFound : .refused
        case .cancelled: self = .cancelled
        case .unusable: self = .other
        }
    }
}
