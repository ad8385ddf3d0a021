import System

/// How one attempt ended.
enum AttemptResult: Sendable {
    /// The receiver has all of the answer, or all it wanted.
    case delivered
    /// The server says: again. The error is for when there is no again.
    case retry(isThrottle: Bool, after: UInt64?, HTTPError)
    /// The exchange broke.
    case failed(HTTPError)
    /// The caller's end: refused by the receiver, by the evaluation, or unanswerable.
    case ended(HTTPError)
}

/// Takes the answer to one attempt: sees whether it is one for the caller, and passes it on if no other attempt was
/// first. Bodies of errors are held back, within a bound, until they are evaluated.
final class AttemptReceiver: HTTPReceiver {
    private enum State {
        case waiting
        /// An error's body, to be evaluated.
        case holding(HTTPResponseHead, [UInt8])
        case delivering
        case decided(AttemptResult)
    }

    static let longestErrorBody = 64 << 10

    private let request: HTTPRequest
    private let delivery: ExchangeDelivery
    private let evaluate: HTTPEvaluation
    private let claim: () -> Bool
    private let clock: any Clock
    private let usualRate: Double?

    private var state = State.waiting
    private var trickle: ThroughputGuard?
    let start: UInt64
    private(set) var headAt: UInt64?
    private(set) var bytes: UInt64 = 0
    private(set) var hasTrickled = false
    /// What the receiver took for itself so far, in nanoseconds.
    private var receiverTime: UInt64 = 0

    /// `claim` is asked once, before the first word to the receiver.
    init(
        _ request: HTTPRequest, _ delivery: ExchangeDelivery, evaluate: @escaping HTTPEvaluation,
        clock: any Clock,
        usualRate: Double?, claim: @escaping () -> Bool
    ) {
        self.request = request
        self.delivery = delivery
        self.evaluate = evaluate
        self.clock = clock
        self.usualRate = usualRate
        self.claim = claim
        self.start = clock.monotonicNanoseconds()
    }

    /// From the start to the head; to now without one.
    var firstByte: UInt64 { (headAt ?? clock.monotonicNanoseconds()) - start }

    func receive(_ head: HTTPResponseHead) throws(HTTPError) {
        let now = clock.monotonicNanoseconds()
        headAt = now
        if head.status >= 400 {
            state = .holding(head, [])
            return
        }
        try decide(head, [])
        if usualRate != nil, delivery.progress.isResumable {
            trickle = ThroughputGuard(usual: usualRate, now: now)
        }
    }

    func receive(_ piece: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        bytes += UInt64(piece.count)
        switch state {
        case .delivering:
            guard trickle != nil else { return unsafe try delivery.take(piece) }
            let arrived = clock.monotonicNanoseconds()
            guard unsafe try delivery.take(piece) else { return false }
            // A receiver that takes its time is not the server's fault.
            let isWorthIt = trickle?.moved(piece.count, now: arrived - min(arrived, receiverTime))
            receiverTime += clock.monotonicNanoseconds() - arrived
            if isWorthIt == false {
                hasTrickled = true
                throw HTTPError(
                    .timedOut, request.origin, "the answer trickles, far slower than others of this server")
            }
            return true
        case .holding(let head, var body):
            state = .waiting
            unsafe body.append(contentsOf: piece)
            if body.count < Self.longestErrorBody {
                state = .holding(head, body)
                return true
            }
            try decide(head, body)
            if case .delivering = state { return true }
            return false
        case .waiting, .decided: return false
        }
    }

    /// The exchange returned, or failed with `error`.
    func end(_ error: HTTPError?) -> AttemptResult {
        if case .decided(let result) = state { return result }
        // In this order: what was delivered is another thread's where another attempt won.
        if case .delivering = state, let refusal = delivery.refusal { return .ended(refusal) }
        if let error { return .failed(error) }
        guard case .holding(let head, let body) = state else { return .delivered }
        do {
            try decide(head, body)
        } catch {
            if case .decided(let result) = state { return result }
            return .ended(error)
        }
        if case .decided(let result) = state { return result }
        return .delivered
    }

    private func decide(_ head: HTTPResponseHead, _ body: [UInt8]) throws(HTTPError) {
        switch evaluate(request, head, body) {
        case .retry(let isThrottle, let after, let code):
            let error = HTTPError(
                .refused, request.origin,
                "the server answered \(head.status)\(code.map { " \($0)" } ?? "")", status: head.status)
            state = .decided(.retry(isThrottle: isThrottle, after: after, error))
            // Only now that the body is of no use.
            if body.isEmpty, head.status < 400 { throw error }
        case .fail(let error):
            state = .decided(.ended(error))
            throw error
        case .deliver:
            guard claim() else {
                let error = HTTPError(.cancelled, request.origin, "another request for the same was faster")
                state = .decided(.failed(error))
                throw error
            }
            state = .delivering
            try delivery.accept(head)
            if !body.isEmpty {
                let wantsMore = try unsafe body.withUnsafeBytes { body in
                    Result { () throws(HTTPError) in unsafe try delivery.take(body) }
                }.get()
                if !wantsMore { state = .decided(.delivered) }
            }
        }
    }
}
