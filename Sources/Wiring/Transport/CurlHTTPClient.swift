import CCurl
package import HTTPExchange
package import System

/// HTTP/1.1 over libcurl: each exchange runs on the calling thread, over a connection that is kept for the next one.
///
/// An idle connection that turns out to be closed is replaced once, without a word, when the request is repeatable;
/// a request that is not gets a new connection, so that it is never sent twice. Names are resolved anew for every new
/// connection. Nothing else is retried here.
package final class CurlHTTPClient: HTTPClient {
    private let options: TransportOptions
    private let clock: any Clock
    private let idle: Monitor<IdleConnections<CurlConnection>>

    package init(_ options: TransportOptions = TransportOptions(), clock: any Clock = HostClock()) {
        self.options = options
        self.clock = clock
        self.idle = Monitor(IdleConnections(maximum: options.maximumIdle, age: options.idleAge))
    }

    @discardableResult
    package func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        try request.checkSendable()
        let connection = try connection(for: request)
        cancellation?.arm { connection.wake() }
        defer { cancellation?.disarm() }
        let exchange = CurlExchange(
            request, receiver, over: connection, deadlines: deadlines, cancellation: cancellation,
            clock: clock)
        let outcome = try RequestOptions(request, deadlines, options).apply(to: connection) {
            () throws(HTTPError) in
            try exchange.run(options: options)
        }
        if outcome.isReusable { keep(connection, for: request.origin) }
        return outcome.head
    }

    /// Closes the connections that were idle too long. Every exchange does so too; for owners with long quiet times.
    package func closeIdle() {
        let expired = idle.withLock { $0.expire(now: clock.monotonicNanoseconds()) }
        // Closed here, outside of the lock.
        _ = consume expired
    }

    private func connection(for request: HTTPRequest) throws(HTTPError) -> CurlConnection {
        closeIdle()
        if request.isRepeatable, let connection = idle.withLock({ $0.take(for: request.origin) }) {
            return connection
        }
        guard let connection = CurlConnection() else {
            throw HTTPError(
                .unusable, request.origin,
                "libcurl cannot be set up: memory or descriptors are short (ulimit -n)")
        }
        return connection
    }

    private func keep(_ connection: CurlConnection, for origin: HTTPOrigin) {
        let surplus = idle.withLock { $0.put(connection, for: origin, now: clock.monotonicNanoseconds()) }
        _ = consume surplus
    }
}
