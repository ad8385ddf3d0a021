/// Who may send to one origin now: within its concurrency limit, urgent ones first, retries within their budget, and one
/// at a time while the origin is away. Decides only; waiting and waking are its owner's.
struct OriginGate {
    typealias Waiter = UInt64

    /// The right to one attempt; ends with `leave`.
    struct Permit: Equatable {
        /// Tells probes apart: one whose answer has begun is none any more, and the next may be under way when it ends.
        var number: UInt64 = 0
        /// Its outcome decides whether the others may go.
        var isProbe: Bool
        /// Monotonic nanoseconds.
        var start: UInt64
    }

    struct Admission: Equatable {
        var waiter: Waiter
        var permit: Permit
    }

    enum Outcome: Equatable {
        /// The origin answered; `bytes` of body came.
        case answered(bytes: UInt64)
        /// `isAnswer` when it was an answer, such as 500.
        case failed(isAnswer: Bool)
        /// It asked for less; `after` is how long it asked to be left alone, in nanoseconds.
        case throttled(after: UInt64)
        /// Nothing was learned of the origin.
        case neutral
    }

    /// After so many urgent ones in a row a waiting bulk one goes, lest it starve.
    private static let urgentInARow = 8

    private var limit = ConcurrencyLimit()
    private var circuit = CircuitBreaker()
    private var retryBudget: TokenBucket
    private(set) var inFlight = 0
    private var permits: UInt64 = 0
    /// The number of the probe that is under way.
    private var probing: UInt64?
    private var urgent = WaitingLine()
    private var bulk = WaitingLine()
    /// Retries that have no budget.
    private var retries = WaitingLine()
    private var urgentRun = 0
    /// Retries and new requests probe by turns: one object that always fails must not be all that is asked for.
    private var probesNew = false

    init(retryShare: Double, retryBurst: Double) {
        retryBudget = TokenBucket(capacity: retryBurst, perRequest: retryShare)
    }

    /// The origin is taken to be away.
    var isAway: Bool { circuit.isOpen }
    var concurrency: Int { limit.current }

    /// One more wants to send. It waits until `admit` names it.
    mutating func arrive(_ waiter: Waiter, _ priority: HTTPPriority, isRetry: Bool) {
        if !isRetry { retryBudget.earn() }
        if isRetry, circuit.isOpen || !retryBudget.spend() {
            retries.append(waiter)
        } else if priority == .urgent {
            urgent.append(waiter)
        } else {
            bulk.append(waiter)
        }
    }

    /// The same, where it need not wait. Nil changes nothing.
    mutating func enterAtOnce(_ priority: HTTPPriority, now: UInt64) -> Permit? {
        guard !circuit.isOpen, inFlight < capacity(priority), urgent.isEmpty, bulk.isEmpty, retries.isEmpty
        else {
            return nil
        }
        retryBudget.earn()
        return begin(isProbe: false, now: now)
    }

    /// One that waited has given up.
    mutating func abandon(_ waiter: Waiter) {
        _ = urgent.remove(waiter) || bulk.remove(waiter) || retries.remove(waiter)
    }

    /// A probe's answer begins well: its end is not waited for.
    mutating func heardProbe(_ permit: Permit) { circuit.succeeded(isProbe: endProbe(permit)) }

    /// Whether this was the probe that is under way; from now on there is none.
    private mutating func endProbe(_ permit: Permit) -> Bool {
        guard permit.isProbe, probing == permit.number else { return false }
        probing = nil
        return true
    }

    mutating func leave(_ permit: Permit, _ outcome: Outcome, now: UInt64) {
        inFlight -= 1
        let isProbe = endProbe(permit)
        switch outcome {
        case .answered(let bytes):
            circuit.succeeded(isProbe: isProbe)
            limit.ended(bytes: bytes, now: now)
        case .failed:
            circuit.failed(isProbe: isProbe, after: 0, now: now)
        case .throttled(let after):
            limit.throttled(start: permit.start, now: now)
            circuit.failed(isProbe: isProbe, after: after, now: now)
        case .neutral:
            circuit.abandoned(isProbe: isProbe)
        }
    }

    /// Those who may go now; and, where that depends on the time alone, who is to ask again when.
    mutating func admit(now: UInt64) -> (admissions: [Admission], wake: (waiter: Waiter, at: UInt64)?) {
        var admissions: [Admission] = []
        var wake: (waiter: Waiter, at: UInt64)?
        // Before the others: there is one of them, and a full line of new requests must not keep it out for ever.
        if let candidate = nextProbe {
            switch circuit.probe(now: now) {
            case .go:
                abandon(candidate)
                probesNew.toggle()
                admissions.append(Admission(waiter: candidate, permit: begin(isProbe: true, now: now)))
            case .at(let time): wake = (candidate, time)
            case .busy: break
            }
        }
        while !circuit.isOpen, let waiter = nextWithinLimit() {
            admissions.append(Admission(waiter: waiter, permit: begin(isProbe: false, now: now)))
        }
        // The candidate may have gone by its budget.
        if let candidate = wake, candidate.waiter != nextProbe { wake = nil }
        return (admissions, wake)
    }

    private var nextProbe: Waiter? {
        if circuit.isOpen {
            let new = urgent.first ?? bulk.first
            return probesNew ? new ?? retries.first : retries.first ?? new
        }
        return inFlight < limit.current ? retries.first : nil
    }

    private mutating func nextWithinLimit() -> Waiter? {
        let isBulksTurn = urgentRun >= Self.urgentInARow && !bulk.isEmpty
        if !urgent.isEmpty, !isBulksTurn, inFlight < capacity(.urgent) {
            urgentRun += 1
            return urgent.removeFirst()
        }
        guard inFlight < capacity(.bulk) else { return nil }
        urgentRun = 0
        if !bulk.isEmpty { return bulk.removeFirst() }
        guard !retries.isEmpty, retryBudget.spend() else { return nil }
        return retries.removeFirst()
    }

    /// A few more urgent ones than the limit: reading ahead with long answers must not hold up a small read.
    private func capacity(_ priority: HTTPPriority) -> Int {
        let limit = limit.current
        return priority == .urgent ? limit + max(1, limit / 4) : limit
    }

    private mutating func begin(isProbe: Bool, now: UInt64) -> Permit {
        inFlight += 1
        permits += 1
        if isProbe { probing = permits }
        limit.began(inFlight: inFlight, now: now)
        return Permit(number: permits, isProbe: isProbe, start: now)
    }
}
