import HTTPExchange
import System

/// Asks small questions of credential services.
package struct ServiceCaller: Sendable {
    let client: any HTTPClient

    static let maximumBytes = 256 << 10

    struct Answer {
        var status: Int
        var body: [UInt8]
    }

    /// Throws only when nobody answered.
    func ask(
        _ method: HTTPMethod, _ address: HTTPAddress, fields: [HTTPField] = [], body: HTTPBody = .none,
        seconds: UInt64
    ) throws(HTTPError) -> Answer {
        let request = HTTPRequest(
            method, address.origin, address.target, fields: fields, body: body, isRepeatable: true,
            priority: .urgent)
        let receiver = BodyReceiver(limit: Self.maximumBytes)
        let nanoseconds = seconds * 1_000_000_000
        let head = try client.exchange(
            request, receiver,
            deadlines: HTTPDeadlines(
                connect: min(nanoseconds, 3_000_000_000), firstByte: nanoseconds, stall: nanoseconds,
                total: nanoseconds), cancellation: nil)
        guard !receiver.isTooLong else {
            throw HTTPError(.malformed, address.origin, "the answer is longer than an answer may be")
        }
        return Answer(status: head.status, body: receiver.bytes)
    }
}

/// Keeps a body of bounded length.
final class BodyReceiver: HTTPReceiver {
    private let limit: Int
    private(set) var bytes: [UInt8] = []
    private(set) var isTooLong = false

    init(limit: Int) { self.limit = limit }

    func receive(_ head: HTTPResponseHead) throws(HTTPError) {}

    func receive(_ piece: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        guard piece.count <= limit - bytes.count else {
            isTooLong = true
            return false
        }
        unsafe bytes.append(contentsOf: piece)
        return true
    }
}
