import HTTPTestSupport
import KamlTestSupport
import System
import Telemetry
import Testing

@testable import HTTPExchange

/// What is counted and recorded of requests.
@Suite struct StoreMetricsTests {
    let registry = MetricsRegistry()
    let origin = HTTPOrigin(isSecure: false, host: "store", port: 9000)
    let hasty = ResiliencePolicy(
        patience: 2_000_000_000, firstPatience: 2_000_000_000, backoffBase: 1_000_000, backoffCap: 5_000_000)

    func text() -> String { String(decoding: registry.exposition(.prometheusText), as: UTF8.self) }

    @Test func everyAttemptIsCountedByItsOutcome() throws {
        let object = SeededRandom(seed: 3).bytes(1000)
        let fake = FakeHTTPClient { sent in
            switch sent.number {
            case 0: [.fail(.connectionLost)]
            case 1: .answer(503, [])
            default: .part(of: object, for: sent.request)
            }
        }
        let client = ResilientHTTPClient(fake, policy: hasty, metrics: StoreMetrics(registry))
        try client.exchange(
            HTTPRequest(.get, origin, "/object", range: 0..<1000), Collector(), deadlines: .generous,
            cancellation: nil)
        let text = text()
        for (outcome, count) in [("success", 1), ("connection", 1), ("throttled", 1), ("timeout", 0)] {
            #expect(
                text.contains(
                    "kaml_store_requests_total{operation=\"get\",outcome=\"\(outcome)\"} \(count)\n"),
                "\(outcome)")
        }
        #expect(text.contains("kaml_store_request_duration_seconds_count{operation=\"get\"} 3\n"))
        #expect(text.contains("kaml_store_received_bytes_total 1000\n"))
        #expect(text.contains("kaml_store_retries_total 2\n"))
        #expect(text.contains("kaml_store_throttles_total 1\n"))
        #expect(text.contains("kaml_store_failures_total 0\n"))
    }

    @Test func everyAttemptIsASpanThatNamesNoSecret() throws {
        let object = SeededRandom(seed: 3).bytes(1000)
        let fake = FakeHTTPClient { sent in
            sent.number == 0 ? [.fail(.timedOut)] : .part(of: object, for: sent.request)
        }
        let client = ResilientHTTPClient(fake, policy: hasty, metrics: StoreMetrics(registry))
        let recorder = SpanRecorder(Sampler(ratio: 1))
        try withTracing(recorder) {
            let root = try #require(Trace.root("read"))
            _ = try Trace.with(root) {
                try client.exchange(
                    HTTPRequest(
                        .get, origin, "/bucket/key?X-Amz-Signature=canary",
                        fields: [HTTPField("authorization", "canary")], range: 0..<1000), Collector(),
                    deadlines: .generous, cancellation: nil)
            }
            let spans = recorder.take(root.context.traceID)
            #expect(spans.map(\.name) == ["store request", "store request"])
            #expect(spans.allSatisfy { $0.parent == root.context.spanID && $0.kind == .client })
            #expect(spans[0].attributes.contains(SpanAttribute("error.type", .text("timedOut"))))
            #expect(spans[1].outcome == .unset)
            #expect(spans[1].attributes.contains(SpanAttribute("url.path", .text("/bucket/key"))))
            #expect(spans[1].attributes.contains(SpanAttribute("http.response.body.size", .integer(1000))))
            #expect(!"\(spans)".contains("canary"))
        }
    }
}
