import System
import Telemetry

/// One exchange of a `ResilientHTTPClient`: its attempts, one after the other.
struct ResilientExchange {
    private static let longestProbeConnect: UInt64 = 2_000_000_000

    private let client: ResilientHTTPClient
    private let traffic: OriginTraffic
    private let request: HTTPRequest
    private let deadlines: HTTPDeadlines
    private let control: ExchangeControl
    private let delivery: ExchangeDelivery
    private let start: UInt64

    private var rule = RetryRule()
    private var trickles = 0
    /// In a row, without progress.
    private var failures = 0
    private var attempts = 0
    private var lastProgress: UInt64
    private var lastError: HTTPError?

    init(
        _ client: ResilientHTTPClient, _ traffic: OriginTraffic, _ request: HTTPRequest,
        _ receiver: any HTTPReceiver,
        deadlines: HTTPDeadlines, control: ExchangeControl
    ) {
        self.client = client
        self.traffic = traffic
        self.request = request
        self.deadlines = deadlines
        self.control = control
        delivery = ExchangeDelivery(request, receiver, client.counters)
        start = client.clock.monotonicNanoseconds()
        lastProgress = start
    }

    mutating func run() throws(HTTPError) -> HTTPResponseHead {
        defer { delivery.end() }
        while true {
            let next = try nextRequest()
            guard let next else { return try deliveredHead() }
            let giveUp = giveUpTime
            let permit = traffic.enter(
                request.priority, isRetry: attempts > 0, giveUp: giveUp, control: control)
            guard let permit else { throw notAdmitted() }
            if attempts > 0 { client.counters.count(delivery.progress.head == nil ? .retry : .resume) }
            let before = delivery.progress.received
            let result = attempt(next, permit, giveUp: giveUp)
            attempts += 1
            let progress = delivery.progress.received - before
            if progress > 0 {
                lastProgress = client.clock.monotonicNanoseconds()
                failures = 0
            }
            switch result {
            case .delivered:
                traffic.leave(permit, .answered(bytes: progress))
                return try deliveredHead()
            case .ended(let error):
                traffic.leave(permit, delivery.progress.head == nil ? .neutral : .answered(bytes: 0))
                throw error
            case .retry(let isThrottle, let after, let error):
                if isThrottle { client.counters.count(.throttle) }
                traffic.leave(permit, isThrottle ? .throttled(after: after ?? 0) : .failed(isAnswer: true))
                guard request.isRepeatable else { throw error }
                try waitToRetry(error, atLeast: after ?? 0)
            case .failed(let error):
                let failure = control.isCancelled ? RetryRule.Failure.final : rule.judge(error, request)
                // An origin that sends something is not away.
                let isAway = failure == .availability && progress == 0
                traffic.leave(
                    permit,
                    isAway ? .failed(isAnswer: false) : progress > 0 ? .answered(bytes: progress) : .neutral)
                if failure == .final { throw control.isCancelled ? cancelled : error }
                try waitToRetry(error, atLeast: 0)
            }
        }
    }

    // MARK: Between attempts

    /// Nil when every byte has been delivered.
    private func nextRequest() throws(HTTPError) -> HTTPRequest? {
        switch delivery.progress.next {
        case .send(let request): return request
        case .done: return nil
        case .cannotGoOn:
            throw lastError
                ?? HTTPError(
                    .connectionLost, request.origin, "the answer broke off, and has no tag to go on with")
        }
    }

    private func deliveredHead() throws(HTTPError) -> HTTPResponseHead {
        guard let head = delivery.progress.head else {
            throw HTTPError(.malformed, request.origin, "the answer has no head")
        }
        return head
    }

    /// Monotonic nanoseconds. A new byte gives new patience, up to the total.
    private var giveUpTime: UInt64 {
        let patience = client.policy.patience
        let wait = traffic.hasAnswered ? patience : min(patience, client.policy.firstPatience)
        return min(Self.sum(lastProgress, wait), Self.sum(start, deadlines.total))
    }

    private mutating func waitToRetry(_ error: HTTPError, atLeast: UInt64) throws(HTTPError) {
        failures += 1
        lastError = error
        // Nothing is left to ask for, or nobody can.
        if case .send = delivery.progress.next {} else { return }
        let backoff = Backoff(base: client.policy.backoffBase, cap: client.policy.backoffCap)
        // While the origin is away its gate spaces the attempts, and lets this one go as soon as it is back.
        let delay = max(atLeast, traffic.isAway ? 0 : backoff.delay(failures, random: randomWord()))
        let now = client.clock.monotonicNanoseconds()
        guard Self.sum(now, delay) < giveUpTime else { throw error }
        guard delay > 0 else { return }
        let parker = Parker()
        control.use(parker)
        defer { control.use(nil) }
        if control.isCancelled { throw cancelled }
        if parker.park(nanoseconds: delay) { throw cancelled }
    }

    private func notAdmitted() -> HTTPError {
        if control.isCancelled { return cancelled }
        return lastError
            ?? HTTPError(
                .timedOut, request.origin,
                "no turn to send within \((client.clock.monotonicNanoseconds() - start) / 1_000_000) ms: the server is away, or has too much to do"
            )
    }

    private var cancelled: HTTPError { HTTPError(.cancelled, request.origin, "the exchange was cancelled") }

    private func randomWord() -> UInt64 {
        var word: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &word) { unsafe client.random.fill($0) }
        return word
    }

    private static func sum(_ time: UInt64, _ duration: UInt64) -> UInt64 {
        let (sum, overflow) = time.addingReportingOverflow(duration)
        return overflow ? .max : sum
    }

    // MARK: One attempt

    private mutating func attempt(
        _ next: HTTPRequest, _ permit: OriginGate.Permit, giveUp: UInt64
    ) -> AttemptResult {
        let isRead = next.method == .get || next.method == .head
        var bounded = bounded(deadlines, giveUp: giveUp)
        // A probe that hangs holds up all others.
        if permit.isProbe { bounded.connect = min(bounded.connect, Self.longestProbeConnect) }
        let claim = { [traffic] in
            if permit.isProbe { traffic.heardProbe(permit) }
            return true
        }
        guard isRead else {
            return AttemptRunner(client, delivery, usualRate: nil, claim: claim, control: control)
                .run(next, deadlines: bounded, cancellation: HTTPCancellation()).result
        }
        let plan = traffic.plan(bounded, attempt: permit.isProbe ? min(failures, 2) : failures)
        let usualRate = trickles < 2 ? plan.usualRate : nil
        guard let delay = plan.hedgeDelay, next.range != nil, !permit.isProbe else {
            let runner = AttemptRunner(client, delivery, usualRate: usualRate, claim: claim, control: control)
            return finished(runner.run(next, deadlines: plan.deadlines, cancellation: HTTPCancellation()))
        }
        let race = secondAttempt(next, plan, usualRate)
        client.hedgeTimer.schedule(race, at: Self.sum(client.clock.monotonicNanoseconds(), delay))
        let runner = AttemptRunner(
            client, delivery, usualRate: usualRate, claim: { race.claim(.first) }, control: control)
        let first = runner.run(next, deadlines: plan.deadlines, cancellation: race.first)
        return race.firstEnded(finished(first))
    }

    private func secondAttempt(_ next: HTTPRequest, _ plan: ReadPlan, _ usualRate: Double?) -> HedgeRace {
        let (client, traffic, delivery, control) = (client, traffic, delivery, control)
        let span = Trace.current
        return HedgeRace { race in
            guard traffic.spendHedge() else {
                return .failed(HTTPError(.cancelled, next.origin, "no second request"))
            }
            client.counters.count(.hedge)
            let runner = AttemptRunner(
                client, delivery, usualRate: usualRate,
                claim: {
                    guard race.claim(.second) else { return false }
                    client.counters.count(.hedgeWin)
                    return true
                }, control: control)
            let end = Trace.with(span) {
                runner.run(next, deadlines: plan.deadlines, cancellation: race.second)
            }
            if case .delivered = end.result { traffic.record(end) }
            return end.result
        }
    }

    private mutating func finished(_ end: AttemptRunner.End) -> AttemptResult {
        if end.hasTrickled { trickles += 1 }
        traffic.record(end)
        return end.result
    }

    /// No read outlasts the patience, nor takes so much of it that there is no second one. A write may be long in the
    /// doing, and giving it up would tell nothing of what became of it.
    private func bounded(_ given: HTTPDeadlines, giveUp: UInt64) -> HTTPDeadlines {
        let now = client.clock.monotonicNanoseconds()
        var deadlines = given
        let elapsed = now - start
        deadlines.total = given.total > elapsed ? given.total - elapsed : 0
        guard request.isRepeatable else { return deadlines }
        let left = max(giveUp > now ? giveUp - now : 0, 100_000_000)
        let share = max(client.policy.patience / 3, 100_000_000)
        deadlines.connect = min(given.connect, left, share)
        guard request.method == .get || request.method == .head else { return deadlines }
        deadlines.firstByte = min(given.firstByte, left, share)
        deadlines.stall = min(given.stall, left, share)
        return deadlines
    }
}
