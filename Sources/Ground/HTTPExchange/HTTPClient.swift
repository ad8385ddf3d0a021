import Synchronization

/// Sends requests and hands over the answers as they come.
///
/// Every call blocks its thread until the exchange is over; calls may come from many threads at once. Redirects are
/// never followed: they are answers like others.
package protocol HTTPClient: Sendable {
    /// Tells `receiver` the head, then the body in pieces. A failure may come after a part of the body. Returns what the
    /// receiver was told of the head. Nothing holds the receiver any more then: what it refers to may be the caller's stack.
    @discardableResult
    func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead
}

/// Takes one answer. Called by one thread at a time, and never after the exchange has returned; that is the thread of the
/// exchange, except where a client sent a second request that was faster.
package protocol HTTPReceiver: AnyObject {
    /// Throws to refuse the answer before its body is read: the exchange ends with that error.
    func receive(_ head: HTTPResponseHead) throws(HTTPError)

    /// The next bytes of the body, valid for the call. False ends the exchange early, which is no error.
    func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool
}

/// How long the parts of an exchange may take, in nanoseconds.
package struct HTTPDeadlines: Hashable, Sendable {
    /// From nothing to a connection that is ready, TLS included.
    package var connect: UInt64
    /// From the sent request to the head of the answer.
    package var firstByte: UInt64
    /// Without a single byte of a body moving. While a server works on its answer `firstByte` rules alone.
    package var stall: UInt64
    /// The whole exchange.
    package var total: UInt64

    package init(connect: UInt64, firstByte: UInt64, stall: UInt64, total: UInt64) {
        self.connect = connect
        self.firstByte = firstByte
        self.stall = stall
        self.total = total
    }

    package static let standard = HTTPDeadlines(
        connect: 5_000_000_000, firstByte: 30_000_000_000, stall: 10_000_000_000, total: 300_000_000_000)
}

/// Lets another thread end an exchange. For one exchange at a time, and of no use any more once it was cancelled.
package final class HTTPCancellation: Sendable {
    private struct State: ~Copyable {
        var isCancelled = false
        var action: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    package init() {}

    package var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Ends the exchange that is being done, or the next one before it begins.
    package func cancel() {
        let action = state.withLock { state in
            state.isCancelled = true
            return state.action
        }
        action?()
    }

    /// For clients: `action` is called, on any thread, when the exchange is to end; perhaps at once. It must be safe to
    /// call at any time: a cancellation that races with `disarm` may call it after that.
    package func arm(_ action: @escaping @Sendable () -> Void) {
        let isCancelled = state.withLock { state in
            state.action = action
            return state.isCancelled
        }
        if isCancelled { action() }
    }

    /// For clients: the exchange is over.
    package func disarm() { state.withLock { $0.action = nil } }
}
