package import System

/// Makes a request ready to be sent, anew for every attempt: signs it with the time and credentials of now.
package typealias HTTPPreparation = @Sendable (HTTPRequest) throws(HTTPError) -> HTTPRequest

/// What an answer means, by its head; for statuses from 400 on also by its body, up to 64 KiB of it.
package typealias HTTPEvaluation =
    @Sendable (_ request: HTTPRequest, _ head: HTTPResponseHead, _ errorBody: [UInt8]) -> HTTPVerdict

/// Does through another client what a request needs to succeed over a bad network: tries again with patience, goes on in
/// the middle of a body, asks twice when an answer is late, and sends no more at once than the origin bears.
///
/// Receivers notice nothing: they are told one head, and every byte once. They are called on one thread at a time, which
/// is the caller's except where a second request won. What a retry could not mend is thrown; an answer that was retried
/// to no avail is thrown as `.refused` with its status.
package final class ResilientHTTPClient: HTTPClient {
    let inner: any HTTPClient
    let policy: ResiliencePolicy
    let clock: any Clock
    let random: any RandomSource
    let prepare: HTTPPreparation
    let evaluate: HTTPEvaluation
    let counters: ResilienceCounters
    let metrics: StoreMetrics
    let hedgeTimer: HedgeTimer
    private let origins = Monitor<[HTTPOrigin: OriginTraffic]>([:])

    package init(
        _ inner: any HTTPClient, policy: ResiliencePolicy = ResiliencePolicy(),
        clock: any Clock = HostClock(),
        random: any RandomSource = HostRandom(),
        prepare: @escaping HTTPPreparation = { (request) throws(HTTPError) in request },
        evaluate: @escaping HTTPEvaluation = { _, head, _ in .standard(head) },
        metrics: StoreMetrics = .process
    ) {
        self.inner = inner
        self.policy = policy
        self.clock = clock
        self.random = random
        self.prepare = prepare
        self.evaluate = evaluate
        self.metrics = metrics
        counters = ResilienceCounters(metrics)
        hedgeTimer = HedgeTimer(clock: clock)
    }

    deinit { hedgeTimer.stop() }

    package var statistics: ResilienceStatistics { counters.snapshot }

    /// How many requests to this origin go out at once, as found so far.
    package func concurrency(of origin: HTTPOrigin) -> Int { traffic(of: origin).concurrency }

    @discardableResult
    package func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        counters.count(.request)
        let control = ExchangeControl()
        cancellation?.arm { control.cancel() }
        defer { cancellation?.disarm() }
        var exchange = ResilientExchange(
            self, traffic(of: request.origin), request, receiver, deadlines: deadlines, control: control)
        do {
            return try exchange.run()
        } catch {
            counters.count(.failure)
            throw error
        }
    }

    private func traffic(of origin: HTTPOrigin) -> OriginTraffic {
        origins.withLock { origins in
            if let known = origins[origin] { return known }
            let traffic = OriginTraffic(policy, clock: clock)
            origins[origin] = traffic
            return traffic
        }
    }
}
