/// What a session is in the midst of, and what follows a request: hello, then at most one stream at a time, beside it
/// questions about files. No I/O.
///
/// Requests are answered in order: while one runs whose answer takes time, no other is to be taken from the socket.
package struct FeedSession: Sendable {
    package static let version: UInt32 = 1

    package enum Decision: Sendable {
        /// To be answered at once; the session goes on.
        case answer(FeedReply)
        /// To be answered when it is done: until `finished` no request is taken.
        case run(FeedRequest.Operation)
        case seek(position: UInt64, generation: UInt16)
        case closeStream
        /// To be told, and the session is over.
        case end(FeedFailure)
    }

    private enum Phase {
        case greeting, ready, ended
        case refused(FeedFailure)
    }

    private var phase = Phase.greeting
    private var hasStream = false
    private var isInline = false
    private var generation: UInt16 = 0
    private let number: UInt64
    private let agent: String

    package private(set) var client = ""
    package private(set) var isBusy = false

    /// `refusal`: why it is no session; it is told in answer to the first request.
    package init(number: UInt64, agent: String, refusal: FeedFailure? = nil) {
        self.number = number
        self.agent = agent
        if let refusal { phase = .refused(refusal) }
    }

    /// Whether it is one of those that count.
    package var isRefused: Bool {
        if case .refused = phase { true } else { false }
    }

    package mutating func decide(_ operation: FeedRequest.Operation) -> Decision {
        switch phase {
        case .refused(let failure): return .end(failure)
        case .ended: return .end(.invalid("the session is over", remedy: "Connect again"))
        case .greeting:
            guard case .hello(let lowest, let highest, let client) = operation else {
                return end(.invalid("the first request is not Hello"))
            }
            return greet(lowest, highest, client)
        case .ready: break
        }
        // The shell takes no request while one runs.
        if isBusy { return end(.invalid("a request came while another one ran")) }
        switch operation {
        case .hello: return end(.invalid("a second Hello"))
        case .openStream:
            if hasStream {
                return refuse("the session has a stream", "Close it first, or connect once more")
            }
            isBusy = true
            return .run(operation)
        case .seek(let position, let generation):
            guard hasStream else { return refuse("the session has no stream", "Open one first") }
            guard generation == self.generation &+ 1 else {
                return refuse(
                    "the seek's generation is \(generation), not \(self.generation &+ 1)",
                    "Count generations from 0, one more with each seek")
            }
            self.generation = generation
            return .seek(position: position, generation: generation)
        case .closeStream:
            guard hasStream else { return .answer(.done) }
            hasStream = false
            return .closeStream
        case .readBatch:
            guard hasStream, isInline else {
                return refuse("the session has no inline stream", "Open one with is_inline")
            }
            isBusy = true
            return .run(operation)
        case .stat, .list, .read:
            isBusy = true
            return .run(operation)
        }
    }

    /// What `run` asked for is answered.
    package mutating func finished() { isBusy = false }

    /// Before `finished`, when the stream is open.
    package mutating func streamOpened(isInline: Bool) {
        hasStream = true
        self.isInline = isInline
        generation = 0
    }

    /// The pod did what no pod has a reason to do, or something that the session cannot go on after.
    package mutating func end(_ failure: FeedFailure) -> Decision {
        phase = .ended
        return .end(failure)
    }

    private mutating func greet(_ lowest: UInt32, _ highest: UInt32, _ client: String) -> Decision {
        guard (lowest...max(lowest, highest)).contains(Self.version) else {
            return end(
                FeedFailure(
                    .unsupported,
                    "the agent speaks version \(Self.version) of the feed, the client \(lowest) to \(highest)",
                    remedy: lowest > Self.version ? "Use a newer agent" : "Use a newer client"))
        }
        phase = .ready
        self.client = client
        return .answer(.welcome(version: Self.version, session: number, agent: agent))
    }

    private func refuse(_ message: String, _ remedy: String) -> Decision {
        .answer(.failure(.invalid(message, remedy: remedy)))
    }
}
