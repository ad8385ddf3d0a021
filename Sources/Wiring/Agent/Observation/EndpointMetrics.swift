import CoreMetrics
import System
import Transport

/// What the HTTP endpoint does, told to whatever backend the process has for swift-metrics.
struct EndpointMetrics: Sendable {
    private let durations = Timer(label: "http.server.request.duration")
    private let active = Meter(label: "http.server.active_requests")
    private let errors = Counter(label: "http.server.errors")

    func measure(_ body: () async -> HTTPAnswer?) async -> HTTPAnswer? {
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        active.increment()
        let answer = await body()
        active.decrement()
        durations.recordNanoseconds(Int64(clamping: clock.monotonicNanoseconds() - start))
        if let answer, answer.status >= 500 { errors.increment() }
        return answer
    }
}
