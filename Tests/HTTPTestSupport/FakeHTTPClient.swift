package import HTTPExchange
import System

/// A client whose answers a test writes: no network, no waiting but what the script says.
package final class FakeHTTPClient: HTTPClient {
    package enum Step: Sendable {
        case head(Int, [HTTPField])
        case bytes([UInt8])
        case fail(HTTPError.Code)
        case wait(milliseconds: UInt64)
        /// Until the exchange is cancelled, or its deadline for a first byte is over.
        case silence
    }

    package struct Sent: Sendable {
        package var request: HTTPRequest
        /// Which one it is, from 0.
        package var number: Int
        /// Monotonic nanoseconds.
        package var time: UInt64
        package var deadlines: HTTPDeadlines
        /// How many run now, this one included.
        package var atOnce: Int
    }

    private let script: @Sendable (Sent) -> [Step]
    private let log = Monitor<[Sent]>([])
    private let running = Monitor((now: 0, most: 0))

    package init(_ script: @escaping @Sendable (Sent) -> [Step]) { self.script = script }

    package var sent: [Sent] { log.withLock { $0 } }
    /// The most exchanges that ran at once.
    package var mostAtOnce: Int { running.withLock { $0.most } }

    @discardableResult
    package func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        let atOnce = running.withLock { running in
            running = (running.now + 1, max(running.most, running.now + 1))
            return running.now
        }
        defer { running.withLock { $0.now -= 1 } }
        let sent = log.withLock { log in
            let sent = Sent(
                request: request, number: log.count, time: HostClock().monotonicNanoseconds(),
                deadlines: deadlines,
                atOnce: atOnce)
            log.append(sent)
            return sent
        }
        let parker = Parker()
        cancellation?.arm { parker.unpark() }
        defer { cancellation?.disarm() }
        var head: HTTPResponseHead?
        for step in script(sent) {
            if cancellation?.isCancelled == true { throw HTTPError(.cancelled, request.origin, "cancelled") }
            switch step {
            case .head(let status, let fields):
                let answer = HTTPResponseHead(status: status, fields: fields)
                head = answer
                try request.check(answer)
                try receiver.receive(answer)
            case .bytes(let bytes):
                let wantsMore = try bytes.withUnsafeBytes { bytes in
                    Result { () throws(HTTPError) in try receiver.receive(bytes) }
                }.get()
                if !wantsMore, let head { return head }
            case .fail(let code):
                throw HTTPError(code, request.origin, "scripted")
            case .wait(let milliseconds):
                parker.park(nanoseconds: milliseconds * 1_000_000)
            case .silence:
                if !parker.park(nanoseconds: deadlines.firstByte) {
                    throw HTTPError(.timedOut, request.origin, "scripted silence")
                }
            }
        }
        if cancellation?.isCancelled == true { throw HTTPError(.cancelled, request.origin, "cancelled") }
        guard let head else { throw HTTPError(.connectionLost, request.origin, "the script has no head") }
        return head
    }
}

extension [FakeHTTPClient.Step] {
    /// A whole answer.
    package static func answer(_ status: Int, _ body: [UInt8] = []) -> Self {
        [.head(status, [HTTPField("content-length", "\(body.count)")]), .bytes(body)]
    }

    /// A good answer to a request for a range of `object`, all of it or its first `count` bytes and then a loss.
    package static func part(
        of object: [UInt8], for request: HTTPRequest, tag: String = "\"a\"", onlyFirst count: Int? = nil
    ) -> Self {
        guard let range = request.range else { return answer(400) }
        let bytes = [UInt8](object[Int(range.lowerBound)..<Int(range.upperBound)])
        let head = FakeHTTPClient.Step.head(
            206,
            [
                HTTPField(
                    "content-range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(object.count)"),
                HTTPField("content-length", "\(bytes.count)"), HTTPField("etag", tag),
            ])
        guard let count else { return [head, .bytes(bytes)] }
        return [head, .bytes([UInt8](bytes.prefix(count))), .fail(.connectionLost)]
    }
}
