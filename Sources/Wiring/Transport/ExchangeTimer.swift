import HTTPExchange

/// Holds one exchange to its deadlines. All times are monotonic nanoseconds.
struct ExchangeTimer {
    enum Phase: String {
        case connect = "no connection"
        case firstByte = "no answer"
        case stall = "no byte"
        case total = "no end"
    }

    enum Verdict: Equatable {
        /// Look again then at the latest.
        case wait(until: UInt64)
        /// The deadline of this phase has passed; how long that was.
        case expired(Phase, after: UInt64)
    }

    private enum State {
        case connecting
        /// The request is being sent.
        case sending
        /// The request is sent, the head of the answer is not complete.
        case waiting(since: UInt64)
        /// The body is coming.
        case receiving
    }

    private let deadlines: HTTPDeadlines
    private let start: UInt64
    private var state = State.connecting
    private var lastMove: UInt64

    init(_ deadlines: HTTPDeadlines, start: UInt64) {
        self.deadlines = deadlines
        self.start = start
        self.lastMove = start
    }

    /// There is a connection; `isSent` when nothing but the head of the request goes over it.
    mutating func connected(isSent: Bool, now: UInt64) {
        state = isSent ? .waiting(since: now) : .sending
        lastMove = now
    }

    /// Bytes of a body have moved, in either direction.
    mutating func moved(now: UInt64) { lastMove = now }

    /// The body of the request is sent.
    mutating func sent(now: UInt64) {
        if case .sending = state { state = .waiting(since: now) }
    }

    mutating func headCame(now: UInt64) {
        state = .receiving
        lastMove = now
    }

    func check(now: UInt64) -> Verdict {
        let limit: (Phase, UInt64, UInt64) =
            switch state {
            case .connecting: (.connect, start, deadlines.connect)
            case .waiting(let since): (.firstByte, since, deadlines.firstByte)
            // A server that works on its answer is slow, not stalled: there `firstByte` rules alone.
            case .sending, .receiving: (.stall, lastMove, deadlines.stall)
            }
        let ends = [limit, (.total, start, deadlines.total)].map { phase, from, duration in
            let (end, overflow) = from.addingReportingOverflow(duration)
            return (phase, end: overflow ? .max : end, duration)
        }
        let first = ends[0].end <= ends[1].end ? ends[0] : ends[1]
        return now < first.end ? .wait(until: first.end) : .expired(first.0, after: first.2)
    }
}
