/// Carries one export request to a collector. Blocks its thread, for a bounded time.
package protocol SpanTransport: Sendable {
    /// `request` is a serialized ExportTraceServiceRequest.
    func send(_ request: [UInt8]) -> SpanDelivery
    /// Ends a `send` that goes on, and all later ones, soon.
    func cancel()
}

/// How a request ended.
package enum SpanDelivery: Hashable, Sendable {
    /// Taken, but for so many spans.
    case taken(rejected: UInt64)
    /// Perhaps later, and not before so many nanoseconds.
    case later(after: UInt64?, why: String)
    /// Never.
    case refused(why: String)
    case tooLarge
}
