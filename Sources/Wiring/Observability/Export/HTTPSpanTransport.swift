package import HTTPExchange

/// OTLP over HTTP: POST of protobuf.
package final class HTTPSpanTransport: SpanTransport {
    private let client: any HTTPClient
    private let settings: ExportSettings
    private let cancellation = HTTPCancellation()

    /// `client` as it is, without retries of its own: the exporter does those.
    package init(_ client: any HTTPClient, _ settings: ExportSettings) {
        self.client = client
        self.settings = settings
    }

    package func send(_ request: [UInt8]) -> SpanDelivery {
        let post = HTTPRequest(
            .post, settings.origin, settings.target,
            fields: [HTTPField("content-type", "application/x-protobuf")] + settings.fields,
            body: .bytes(request))
        let deadlines = HTTPDeadlines(
            connect: min(settings.timeout, 3_000_000_000), firstByte: settings.timeout,
            stall: settings.timeout, total: settings.timeout)
        let answer = Answer()
        do throws(HTTPError) {
            let head = try client.exchange(post, answer, deadlines: deadlines, cancellation: cancellation)
            return Self.delivery(head, answer.body)
        } catch {
            switch error.code {
            case .cannotResolve, .cannotConnect, .timedOut, .connectionLost, .refused, .cancelled:
                return .later(after: nil, why: "\(error)")
            case .untrusted, .malformed, .unexpected, .unusable: return .refused(why: "\(error)")
            }
        }
    }

    package func cancel() { cancellation.cancel() }

    /// What OTLP's specification makes of an answer.
    static func delivery(_ head: HTTPResponseHead, _ body: [UInt8]) -> SpanDelivery {
        switch head.status {
        case 200..<300:
            guard let rejected = SpanMessages.rejected(body) else {
                return .refused(why: "the answer is none of OTLP's")
            }
            return .taken(rejected: rejected)
        case 413: return .tooLarge
        case 429, 502, 503, 504:
            let seconds = head["retry-after"].flatMap { HTTPContentRange.decimal($0) }
            return .later(after: seconds.map { min($0, 3600) * 1_000_000_000 }, why: "status \(head.status)")
        default: return .refused(why: "status \(head.status)")
        }
    }

    /// Keeps as much of an answer as could make sense.
    private final class Answer: HTTPReceiver {
        private static let limit = 64 << 10
        private(set) var body: [UInt8] = []

        func receive(_ head: HTTPResponseHead) throws(HTTPError) {}

        func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
            let room = Self.limit - body.count
            unsafe body.append(contentsOf: bytes.prefix(room))
            return bytes.count <= room
        }
    }
}
