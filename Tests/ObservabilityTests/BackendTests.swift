import CoreMetrics
import Instrumentation
import Telemetry
import Testing
import Tracing

@testable import Observability

/// Runs `body` with the span as the task's, as swift-distributed-tracing hands it on.
func withContext(of span: TraceSpan, _ recorder: SpanRecorder, _ body: () -> Void) {
    var context = InstrumentationContext.topLevel
    context.activeSpan = span
    InstrumentationContext.$current.withValue(context, operation: body)
}

struct MetricsBackendTests {
    let registry = MetricsRegistry()
    var factory: RegistryMetricsFactory { RegistryMetricsFactory(registry) }
    var text: String { String(decoding: registry.exposition(.prometheusText), as: UTF8.self) }

    @Test func aLibrarysMetricAppearsUnderTheCataloguesName() {
        let factory = factory
        let counter = CoreMetrics.Counter(
            label: "http.server.errors", dimensions: [("error.type", "404")], factory: factory)
        counter.increment(by: 3)
        let timer = CoreMetrics.Timer(label: "http.server.request.duration", factory: factory)
        timer.recordNanoseconds(2_000_000)
        let meter = CoreMetrics.Meter(label: "http.server.active_requests", factory: factory)
        meter.increment()
        meter.increment()
        meter.decrement()
        #expect(text.contains("kaml_agent_http_errors_total 3\n"))
        #expect(text.contains("kaml_agent_http_request_duration_seconds_bucket{le=\"0.0025\"} 1\n"))
        #expect(text.contains("kaml_agent_http_requests_in_flight 1\n"))
        meter.destroy()
        #expect(!text.contains("kaml_agent_http_requests_in_flight"))
    }

    @Test func whatTheCatalogueDoesNotListIsDroppedAndCounted() {
        let factory = factory
        for number in 0..<100 {
            CoreMetrics.Counter(label: "evil_\(number)\n{} 1", factory: factory).increment()
        }
        CoreMetrics.Recorder(label: "sizes", factory: factory).record(5)
        #expect(!text.contains("evil"))
        #expect(text.contains("kaml_metrics_dropped_total{reason=\"not_in_catalogue\"} 101\n"))
    }
}

struct TracerTests {
    let recorder = SpanRecorder(Sampler(ratio: 1))
    var tracer: RecorderTracer { RecorderTracer(recorder) }

    struct Carrier: Injector, Extractor {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
            carrier[key] = value
        }
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    }

    @Test func asynchronousSpansNestAndTellWhatTheySay() async throws {
        struct Bad: Error {}
        let tracer = tracer
        await #expect(throws: Bad.self) {
            try await tracer.withSpan("mount", ofKind: .server) { span in
                span.attributes["dataset"] = "imagenet"
                span.attributes["bytes"] = 12
                await tracer.withSpan("manifest") { inner in
                    await Task.yield()
                    inner.addEvent(SpanEvent(name: "found", attributes: ["shards": .int64(4)]))
                }
                throw Bad()
            }
        }
        let spans = recorder.take(after: 0)
        #expect(spans.map(\.name) == ["manifest", "mount"])
        #expect(spans[0].parent == spans[1].context.spanID)
        #expect(spans[0].events.first?.name == "found")
        #expect(spans[1].attributes.contains(Telemetry.SpanAttribute("dataset", .text("imagenet"))))
        #expect(spans[1].attributes.contains(Telemetry.SpanAttribute("bytes", .integer(12))))
        #expect(spans[1].events.first?.name == "exception")
        guard case .failed = spans[1].outcome else {
            Issue.record("a span that threw has not failed")
            return
        }
    }

    @Test func aCallersTraceGoesOn() throws {
        let field = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        var context = InstrumentationContext.topLevel
        tracer.extract(["traceparent": field], into: &context, using: Carrier())
        let span = tracer.startSpan("rpc", context: context, ofKind: .server)
        var out: [String: String] = [:]
        tracer.inject(span.context, into: &out, using: Carrier())
        let sent = try #require(SpanContext(traceparent: out["traceparent"] ?? ""))
        #expect("\(sent.traceID)" == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect("\(sent.spanID)" != "00f067aa0ba902b7")
        span.end()
        #expect(recorder.take(after: 0).first?.parent?.description == "00f067aa0ba902b7")
    }

    @Test func garbageFromACallerStartsATraceOfItsOwn() {
        var context = InstrumentationContext.topLevel
        tracer.extract(["traceparent": "garbage"], into: &context, using: Carrier())
        tracer.startSpan("rpc", context: context).end()
        #expect(recorder.take(after: 0).first?.parent == nil)
    }
}
