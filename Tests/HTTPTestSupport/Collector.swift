package import HTTPExchange

/// A receiver that keeps what it is told.
package final class Collector: HTTPReceiver {
    package private(set) var heads: [HTTPResponseHead] = []
    package private(set) var body: [UInt8] = []
    /// Ends the exchange once the body has this many bytes.
    package var enough = Int.max
    /// Thrown at the head.
    package var headError: HTTPError?
    /// Thrown at the first piece of a body.
    package var bodyError: HTTPError?

    package init() {}

    package func receive(_ head: HTTPResponseHead) throws(HTTPError) {
        heads.append(head)
        if let headError { throw headError }
    }

    package func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        if let bodyError { throw bodyError }
        body.append(contentsOf: bytes)
        return body.count < enough
    }
}

extension HTTPDeadlines {
    /// Long enough for a busy machine, short enough for a test that fails.
    package static let generous = HTTPDeadlines(
        connect: 10_000_000_000, firstByte: 10_000_000_000, stall: 10_000_000_000, total: 20_000_000_000)
}

/// What `body` throws, if it does.
package func httpError(_ body: () throws(HTTPError) -> Void) -> HTTPError? {
    do throws(HTTPError) {
        try body()
        return nil
    } catch {
        return error
    }
}
