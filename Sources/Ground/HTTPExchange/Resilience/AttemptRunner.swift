import System
import Telemetry

/// Sends one attempt and says how it ended.
struct AttemptRunner {
    struct End {
        var result: AttemptResult
        /// From the start to the head of the answer; nil where that says nothing of the origin.
        var firstByte: UInt64?
        var bytes: UInt64
        /// From the start to the end.
        var time: UInt64
        var hasTrickled: Bool
    }

    private let client: ResilientHTTPClient
    private let delivery: ExchangeDelivery
    private let usualRate: Double?
    private let claim: () -> Bool
    private let control: ExchangeControl

    init(
        _ client: ResilientHTTPClient, _ delivery: ExchangeDelivery, usualRate: Double?,
        claim: @escaping () -> Bool, control: ExchangeControl
    ) {
        self.client = client
        self.delivery = delivery
        self.usualRate = usualRate
        self.claim = claim
        self.control = control
    }

    func run(_ request: HTTPRequest, deadlines: HTTPDeadlines, cancellation: HTTPCancellation) -> End {
        let prepared: HTTPRequest
        do {
            prepared = try client.prepare(request)
        } catch {
            return End(result: .ended(error), firstByte: nil, bytes: 0, time: 0, hasTrickled: false)
        }
        control.add(cancellation)
        defer { control.remove(cancellation) }
        let span = Trace.current?.child("store request", .client)
        let receiver = AttemptReceiver(
            request, delivery, evaluate: client.evaluate, clock: client.clock, usualRate: usualRate,
            claim: claim)
        let result: AttemptResult
        do {
            try client.inner.exchange(prepared, receiver, deadlines: deadlines, cancellation: cancellation)
            result = receiver.end(nil)
        } catch {
            result = receiver.end(error)
        }
        let now = client.clock.monotonicNanoseconds()
        // A head that was waited for in vain was at least so long in coming, when another request was faster.
        var firstByte: UInt64?
        if receiver.headAt != nil || cancellation.isCancelled { firstByte = receiver.firstByte }
        let end = End(
            result: result, firstByte: control.isCancelled ? nil : firstByte, bytes: receiver.bytes,
            time: now - receiver.start, hasTrickled: receiver.hasTrickled)
        if let span { describe(span, request, end, headAt: receiver.headAt) }
        client.metrics.count(request, end, span)
        return end
    }

    /// As OpenTelemetry's conventions for HTTP name it. The query is left out: it may be signed.
    private func describe(_ span: TraceSpan, _ request: HTTPRequest, _ end: End, headAt: UInt64?) {
        span.set("http.request.method", request.method.rawValue)
        span.set("server.address", request.origin.host)
        if let port = request.origin.port { span.set("server.port", port) }
        span.set("url.path", String(request.target.prefix { $0 != "?" }))
        if let range = request.range {
            span.set("kaml.range.start", range.lowerBound)
            span.set("kaml.range.length", range.upperBound - range.lowerBound)
        }
        span.set("http.response.body.size", end.bytes)
        if headAt != nil, let firstByte = end.firstByte { span.set("kaml.first_byte_ns", firstByte) }
        switch end.result {
        case .delivered: span.end()
        case .retry(_, _, let error), .failed(let error), .ended(let error):
            if let status = error.status { span.set("http.response.status_code", status) }
            span.set("error.type", error.code.rawValue)
            span.end(failed: error)
        }
    }
}

extension OriginTraffic {
    /// What a read tells of the origin.
    func record(_ end: AttemptRunner.End) {
        var body: (bytes: UInt64, time: UInt64)?
        if case .delivered = end.result { body = (end.bytes, end.time) }
        record(firstByte: end.firstByte, body: body)
    }
}
