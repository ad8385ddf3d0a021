import Synchronization
import System

/// What a client knows of one origin, and the threads that wait for their turn there.
final class OriginTraffic: Sendable {
    private struct State {
        var gate: OriginGate
        var times = ReadTimes()
        var hedgeBudget: TokenBucket
        var lastThrottle: UInt64?

        var nextWaiter: UInt64 = 0
        var waiting: [OriginGate.Waiter: Parker] = [:]
        var admitted: [OriginGate.Waiter: OriginGate.Permit] = [:]
        /// Who sleeps until when, because only time decides.
        var timed: (waiter: OriginGate.Waiter, at: UInt64)?
    }

    /// After a throttle, no hedges for so long.
    private static let calm: UInt64 = 10_000_000_000

    // Not a Mutex: many threads come here for every request, and its lock is handed from waiter to waiter through the
    // scheduler, which on few cores was measured to cost five times the requests.
    private let state: Monitor<State>
    private let answered = Atomic(false)
    private let clock: any Clock

    init(_ policy: ResiliencePolicy, clock: any Clock) {
        self.clock = clock
        state = Monitor(
            State(
                gate: OriginGate(retryShare: policy.retryShare, retryBurst: policy.retryBurst),
                hedgeBudget: TokenBucket(
                    capacity: policy.hedgeShare > 0 ? 4 : 0, perRequest: policy.hedgeShare)))
    }

    var hasAnswered: Bool { answered.load(ordering: .relaxed) }
    var isAway: Bool { state.withLock { $0.gate.isAway } }
    var concurrency: Int { state.withLock { $0.gate.concurrency } }

    /// Waits for the right to send; nil when `giveUp` (monotonic nanoseconds) has come or `control` was cancelled.
    func enter(
        _ priority: HTTPPriority, isRetry: Bool, giveUp: UInt64, control: ExchangeControl?
    ) -> OriginGate.Permit? {
        let now = clock.monotonicNanoseconds()
        if !isRetry, let permit = state.withLock({ $0.gate.enterAtOnce(priority, now: now) }) {
            return permit
        }
        let parker = Parker()
        control?.use(parker)
        defer { control?.use(nil) }
        let waiter = state.withLock { state in
            state.nextWaiter += 1
            state.waiting[state.nextWaiter] = parker
            state.gate.arrive(state.nextWaiter, priority, isRetry: isRetry)
            return state.nextWaiter
        }
        while true {
            let now = clock.monotonicNanoseconds()
            let isOver = now >= giveUp || control?.isCancelled == true
            let step = state.withLock { state -> (permit: OriginGate.Permit?, until: UInt64) in
                Self.dispatch(&state, now: now, asking: waiter)
                if let permit = state.admitted.removeValue(forKey: waiter) {
                    state.waiting[waiter] = nil
                    return (permit, now)
                }
                if isOver {
                    state.waiting[waiter] = nil
                    state.gate.abandon(waiter)
                    if state.timed?.waiter == waiter { state.timed = nil }
                    Self.dispatch(&state, now: now, asking: nil)
                    return (nil, now)
                }
                let until = state.timed.flatMap { $0.waiter == waiter ? $0.at : nil } ?? giveUp
                return (nil, min(until, giveUp))
            }
            if step.permit != nil || isOver { return step.permit }
            parker.park(nanoseconds: step.until > now ? step.until - now : 0)
        }
    }

    /// A probe got a good head: the others need not wait for the end of its body.
    func heardProbe(_ permit: OriginGate.Permit) {
        let now = clock.monotonicNanoseconds()
        state.withLock { state in
            state.gate.heardProbe(permit)
            Self.dispatch(&state, now: now, asking: nil)
        }
    }

    /// Ends what `enter` began.
    func leave(_ permit: OriginGate.Permit, _ outcome: OriginGate.Outcome) {
        let now = clock.monotonicNanoseconds()
        state.withLock { state in
            state.gate.leave(permit, outcome, now: now)
            if case .throttled = outcome { state.lastThrottle = now }
            switch outcome {
            case .answered, .throttled, .failed(isAnswer: true): answered.store(true, ordering: .relaxed)
            case .failed(isAnswer: false), .neutral: break
            }
            if !state.waiting.isEmpty { Self.dispatch(&state, now: now, asking: nil) }
        }
    }

    /// What one read took: to its head; and, where it came whole, the bytes of its body and the time from its start.
    func record(firstByte: UInt64?, body: (bytes: UInt64, time: UInt64)?) {
        state.withLock { state in
            if let firstByte { state.times.add(firstByte: firstByte) }
            if let body { state.times.add(body: body.bytes, in: body.time) }
        }
    }

    /// For one read: its deadlines, when to hedge it, and the usual rate of bodies.
    func plan(_ given: HTTPDeadlines, attempt: Int) -> ReadPlan {
        let now = clock.monotonicNanoseconds()
        return state.withLock { state in
            state.hedgeBudget.earn()
            let isCalm = state.lastThrottle.map { now > $0 + Self.calm } ?? true
            let mayHedge = isCalm && !state.gate.isAway && state.hedgeBudget.tokens >= 1
            return ReadPlan(
                deadlines: state.times.deadlines(given, attempt: attempt),
                hedgeDelay: mayHedge ? state.times.hedgeDelay : nil, usualRate: state.times.bytesPerSecond)
        }
    }

    func spendHedge() -> Bool { state.withLock { $0.hedgeBudget.spend() } }

    /// Gives out what the gate grants, and sees that whoever waits for a time alone sleeps until then.
    private static func dispatch(_ state: inout State, now: UInt64, asking: OriginGate.Waiter?) {
        let (admissions, wake) = state.gate.admit(now: now)
        for admission in admissions {
            state.admitted[admission.waiter] = admission.permit
            if admission.waiter != asking { state.waiting[admission.waiter]?.unpark() }
        }
        guard let wake else {
            state.timed = nil
            return
        }
        let isKnown = state.timed.map { $0.waiter == wake.waiter && $0.at <= wake.at } ?? false
        state.timed = wake
        if !isKnown, wake.waiter != asking { state.waiting[wake.waiter]?.unpark() }
    }
}

/// How one attempt at a read goes about it.
struct ReadPlan {
    var deadlines: HTTPDeadlines
    /// Nanoseconds until a second request for the same is worth it; nil for never.
    var hedgeDelay: UInt64?
    /// Bytes a second of other bodies from the same origin.
    var usualRate: Double?
}
