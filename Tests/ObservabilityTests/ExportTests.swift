import HTTPExchange
import HTTPTestSupport
import KamlProtos
import KamlTestSupport
import SwiftProtobuf
import Synchronization
import System
import Telemetry
import Testing
import Transport

@testable import Observability

struct ExportTests {
    let registry = MetricsRegistry()
    let recorder = SpanRecorder(Sampler(ratio: 1))

    typealias Request = Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceRequest
    typealias Answer = Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceResponse

    func settings(_ server: ScriptedServer, timeout: UInt64 = 5_000_000_000) -> ExportSettings {
        ExportSettings(
            origin: server.origin, target: "/v1/traces", fields: [HTTPField("x-key", "canary-4711")],
            timeout: timeout, sampler: Sampler(ratio: 1), resource: [])
    }

    func exporter(
        _ transport: any SpanTransport, interval: UInt64 = 10_000_000, farewell: UInt64 = 3_000_000_000,
        notice: @escaping @Sendable (String) -> Void = { _ in }
    ) throws -> SpanExporter {
        var options = SpanExporter.Options()
        options.interval = interval
        options.farewell = farewell
        let exporter = SpanExporter(
            recorder, transport, resource: identity.attributes, registry: registry, options: options,
            notice: notice)
        try exporter.start()
        return exporter
    }

    func metric(_ name: String) -> UInt64? {
        String(decoding: registry.exposition(.prometheusText), as: UTF8.self)
            .split(separator: "\n").first { $0.hasPrefix(name + " ") }
            .flatMap { $0.split(separator: " ").last }.flatMap { UInt64($0) }
    }

    func dropped(_ reason: String) -> UInt64? {
        metric("kaml_trace_spans_dropped_total{reason=\"\(reason)\"}")
    }

    @Test func aSpanArrivesWithAllItSays() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        let exporter = try exporter(HTTPSpanTransport(CurlHTTPClient(), settings(server)))
        let root = recorder.startRoot("read", .server)
        root.set("bytes", 4096)
        root.set("dataset", "imagenet@v2")
        root.set("hit", false)
        root.add(event: "waited", [SpanAttribute("ratio", .number(0.5))])
        let child = root.child("store request", .client)
        child.add(link: root.context)
        child.end(failed: Errno.inputOutput)
        root.finish(as: .succeeded)
        root.end()
        exporter.stop()

        let requests = server.requests
        #expect(requests.allSatisfy { $0.method == "POST" && $0.target == "/v1/traces" })
        #expect(requests.allSatisfy { $0["content-type"] == "application/x-protobuf" })
        #expect(requests.allSatisfy { $0["x-key"] == "canary-4711" })
        let messages = try requests.map { try Request(serializedBytes: $0.body) }
        let resource = try #require(messages.first?.resourceSpans.first?.resource)
        #expect(
            resource.attributes.map { "\($0.key)=\($0.value.stringValue)" } == [
                "service.name=kamld", "service.version=0.4.0", "service.instance.id=pod-1",
                "host.name=host-1", "k8s.node.name=node-1",
            ])
        let spans = messages.flatMap(\.resourceSpans).flatMap(\.scopeSpans).flatMap(\.spans)
        let read = try #require(spans.first { $0.name == "read" })
        let request = try #require(spans.first { $0.name == "store request" })
        #expect(Array(read.traceID) == root.context.traceID.bytes && read.traceID == request.traceID)
        #expect(request.parentSpanID == read.spanID && read.parentSpanID.isEmpty)
        #expect(read.kind == .server && request.kind == .client)
        #expect(read.status.code == .ok && request.status.code == .error)
        #expect(request.status.message == "\(Errno.inputOutput)")
        #expect(read.startTimeUnixNano <= request.startTimeUnixNano)
        #expect(read.endTimeUnixNano >= request.endTimeUnixNano)
        #expect(read.attributes.first { $0.key == "bytes" }?.value.intValue == 4096)
        #expect(read.attributes.first { $0.key == "dataset" }?.value.stringValue == "imagenet@v2")
        #expect(read.attributes.first { $0.key == "hit" }?.value.boolValue == false)
        #expect(read.events.first?.attributes.first?.value.doubleValue == 0.5)
        #expect(Array(request.links[0].spanID) == root.context.spanID.bytes)
        #expect(metric("kaml_trace_spans_exported_total") == 2)
    }

    @Test func largeQueuesGoInBatches() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        for _ in 0..<1200 { recorder.startRoot("read").end() }
        try exporter(HTTPSpanTransport(CurlHTTPClient(), settings(server))).stop()
        let counts = try server.requests.map {
            try Request(serializedBytes: $0.body).resourceSpans[0].scopeSpans[0].spans.count
        }
        #expect(counts == [512, 512, 176])
    }

    @Test func whatACollectorLeavesOutIsCounted() throws {
        var answer = Answer()
        answer.partialSuccess.rejectedSpans = 3
        let body: [UInt8] = try answer.serializedBytes()
        let server = try ScriptedServer { _ in [.answer(200, body)] }
        defer { server.stop() }
        for _ in 0..<5 { recorder.startRoot("read").end() }
        try exporter(HTTPSpanTransport(CurlHTTPClient(), settings(server))).stop()
        #expect(metric("kaml_trace_spans_exported_total") == 2)
        #expect(dropped("refused") == 3)
        #expect(metric("kaml_trace_exports_total{outcome=\"partial\"}") == 1)
    }

    @Test(arguments: [
        (200, nil, SpanDelivery.taken(rejected: 0)), (204, nil, .taken(rejected: 0)),
        (429, "7", .later(after: 7_000_000_000, why: "status 429")),
        (503, "99999999999999999999", .later(after: nil, why: "status 503")),
        (503, "86400", .later(after: 3_600_000_000_000, why: "status 503")),
        (502, "Fri, 31 Dec 2027 23:59:59 GMT", .later(after: nil, why: "status 502")),
        (504, nil, .later(after: nil, why: "status 504")), (500, nil, .refused(why: "status 500")),
        (400, nil, .refused(why: "status 400")), (401, nil, .refused(why: "status 401")),
        (301, nil, .refused(why: "status 301")), (413, nil, .tooLarge),
    ])
    func answersMeanWhatTheSpecificationSays(status: Int, after: String?, wanted: SpanDelivery) {
        let fields = after.map { [HTTPField("retry-after", $0)] } ?? []
        #expect(HTTPSpanTransport.delivery(HTTPResponseHead(status: status, fields: fields), []) == wanted)
    }

    @Test func garbageIsNoAnswer() {
        let head = HTTPResponseHead(status: 200, fields: [])
        for body in [[0xFF, 0xFF, 0xFF, 0xFF, 0xFF], Array("<html>It works!</html>".utf8)] as [[UInt8]] {
            guard case .refused = HTTPSpanTransport.delivery(head, body) else {
                Issue.record("\(body) was taken for an answer")
                continue
            }
        }
    }

    @Test func anAbsentCollectorIsAskedRarelyAndNobodyWaits() throws {
        let (socket, origin) = try ScriptedServer.listen(backlog: 1)
        _ = FileDescriptor(owning: socket)
        let notices = Mutex<[String]>([])
        let transport = HTTPSpanTransport(
            CurlHTTPClient(),
            ExportSettings(
                origin: origin, target: "/v1/traces", fields: [HTTPField("x-key", "canary-4711")],
                timeout: 1_000_000_000, sampler: Sampler(ratio: 1), resource: []))
        let exporter = try exporter(transport) { text in notices.withLock { $0.append(text) } }
        let start = HostClock().monotonicNanoseconds()
        for _ in 0..<20_000 { recorder.startRoot("read").end() }
        #expect(HostClock().monotonicNanoseconds() - start < 2_000_000_000)
        #expect(recorder.waiting <= SpanRecorder.queueLimit)
        exporter.stop()
        #expect(recorder.counts.dropped > 0)
        #expect(metric("kaml_trace_spans_exported_total") == 0)
        #expect((metric("kaml_trace_exports_total{outcome=\"failed\"}") ?? 0) <= 20)
        let told = notices.withLock { $0 }
        #expect(told.count == 1)
        #expect(!told.joined().contains("canary-4711"))
    }

    @Test func aCollectorThatHangsDelaysNeitherReadersNorTheEnd() throws {
        let server = try ScriptedServer { _ in [.silence] }
        defer { server.stop() }
        let exporter = try exporter(
            HTTPSpanTransport(CurlHTTPClient(), settings(server, timeout: 60_000_000_000)),
            farewell: 300_000_000)
        recorder.startRoot("read").end()
        #expect(eventually { server.accepted == 1 })
        let start = HostClock().monotonicNanoseconds()
        for _ in 0..<10_000 { recorder.startRoot("read").end() }
        #expect(HostClock().monotonicNanoseconds() - start < 2_000_000_000)
        exporter.stop()
        #expect(HostClock().monotonicNanoseconds() - start < 10_000_000_000)
        #expect((dropped("queue_full") ?? 0) > 0)
    }

    enum Hostility: String, CaseIterable {
        case garbage, reset, endless, broken, redirect

        var steps: [ScriptedServer.Step] {
            switch self {
            case .garbage: [.text("garbage\r\n\r\n"), .close]
            case .reset: [.reset]
            case .endless: [.answer(200, [UInt8](repeating: 0x41, count: 1 << 20))]
            case .broken: [.text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"), .close]
            case .redirect: [.answer(302, [], fields: ["Location: http://127.0.0.1:1/"])]
            }
        }
    }

    @Test(arguments: Hostility.allCases)
    func aHostileCollectorCostsSpansAndNothingElse(hostility: Hostility) throws {
        let server = try ScriptedServer { _ in hostility.steps }
        defer { server.stop() }
        recorder.startRoot("read").end()
        try exporter(HTTPSpanTransport(CurlHTTPClient(), settings(server, timeout: 2_000_000_000))).stop()
        #expect(metric("kaml_trace_spans_exported_total") == 0)
        #expect((dropped("refused") ?? 0) + (dropped("unreachable") ?? 0) == 1)
    }

    @Test func aCollectorThatComesBackIsToldOf() throws {
        let isBack = Atomic(false)
        let server = try ScriptedServer { _ in [.answer(isBack.load(ordering: .relaxed) ? 200 : 400)] }
        defer { server.stop() }
        let notices = Mutex<[String]>([])
        let exporter = try exporter(HTTPSpanTransport(CurlHTTPClient(), settings(server))) { text in
            notices.withLock { $0.append(text) }
        }
        for _ in 0..<3 {
            recorder.startRoot("read").end()
            let before = server.requests.count
            recorder.hurry()
            #expect(eventually { server.requests.count > before })
        }
        isBack.store(true, ordering: .relaxed)
        recorder.startRoot("read").end()
        #expect(eventually { metric("kaml_trace_spans_exported_total") == 1 })
        exporter.stop()
        #expect(notices.withLock { $0.count } == 2)
    }

    @Test func troubleOfOneBatchSlowsTheNext() {
        var pace = ExportPace()
        pace.begin()
        #expect(pace.failed(askedFor: nil, random: 0) == .retry(after: 500_000_000))
        #expect(pace.failed(askedFor: nil, random: 0) == .retry(after: 1_000_000_000))
        #expect(pace.failed(askedFor: 9_000_000_000, random: 0) == .retry(after: 9_000_000_000))
        #expect(pace.failed(askedFor: nil, random: 0) == .giveUp(pause: 4_000_000_000))
        pace.begin()
        #expect(pace.failed(askedFor: nil, random: 0) == .giveUp(pause: 8_000_000_000))
        for _ in 0..<100 {
            pace.begin()
            guard case .giveUp(let pause) = pace.failed(askedFor: .max, random: .max) else {
                Issue.record("a collector that has been away for long is asked again at once")
                return
            }
            #expect(pause == ExportPace.longest)
        }
        pace.succeeded()
        pace.begin()
        #expect(pace.failed(askedFor: nil, random: .max) != .giveUp(pause: 0))
        guard case .retry(let delay) = pace.failed(askedFor: nil, random: .max) else {
            Issue.record("a new trouble is met with patience")
            return
        }
        #expect(delay <= 2_000_000_000)
    }
}

struct ExportSettingsTests {
    func read(_ variables: [String: String]) throws(ExportSettingsError) -> ExportSettings? {
        try ExportSettings.read { variables[$0] }
    }

    @Test func withoutAnEndpointTracingIsOff() throws {
        #expect(try read([:]) == nil)
        let endpoint = "http://127.0.0.1:4318"
        #expect(try read(["OTEL_EXPORTER_OTLP_ENDPOINT": ""]) == nil)
        #expect(try read(["OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "true"]) == nil)
        #expect(try read(["OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"]) == nil)
    }

    @Test func theEndpointsPathIsTheCollectors() throws {
        let base = try #require(
            try read(["OTEL_EXPORTER_OTLP_ENDPOINT": "https://Jaeger.example:4318/otlp/"]))
        #expect(base.origin == HTTPOrigin(isSecure: true, host: "jaeger.example", port: 4318))
        #expect(base.target == "/otlp/v1/traces")
        #expect(base.sampler == ExportSettings.standardSampler)
        let own = try #require(
            try read([
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:9/spans",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere",
            ]))
        #expect(own.target == "/spans" && own.origin.host == "::1" && own.origin.port == 9)
    }

    @Test func headersAndAttributesAreDecoded() throws {
        let settings = try #require(
            try read([
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
                "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=canary%3D4711, tenant = a%20b",
                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=lab,team=%C3%A9quipe",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "1500",
            ]))
        #expect(settings.fields == [HTTPField("x-key", "canary=4711"), HTTPField("tenant", "a b")])
        #expect(
            settings.resource == [
                SpanAttribute("deployment.environment", .text("lab")), SpanAttribute("team", .text("équipe")),
            ])
        #expect(settings.sampler == Sampler(ratio: 0.5))
        #expect(settings.timeout == 1_500_000_000)
        var dumped = ""
        dump(settings, to: &dumped)
        for text in ["\(settings)", String(reflecting: settings), dumped] {
            #expect(!text.contains("canary"))
        }
    }

    @Test func allThatIsWrongIsToldAtOnceWithoutItsValues() {
        let variables = [
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://canary:canary@host",
            "OTEL_EXPORTER_OTLP_HEADERS": "canary", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/canary",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "canary", "OTEL_TRACES_SAMPLER": "canary",
            "OTEL_RESOURCE_ATTRIBUTES": "canary",
        ]
        let error = #expect(throws: ExportSettingsError.self) { try read(variables) }
        #expect(error?.problems.count == 6)
        #expect(error?.description.contains("canary") == false)
    }

    @Test(arguments: [
        "127.0.0.1:4318", "ftp://host", "http://", "http://host:0", "http://host:99999", "http://host:4318x",
        "http://ho st", "http://host/a?b", "http://host/#a", "http://user@host", "http://[::1",
        "http://[::1]x",
        "http://host\r\nx: y", "http://höst",
    ])
    func whatIsNoEndpointIsRefused(url: String) { #expect(ExportEndpoint(url) == nil) }

    @Test func fieldsThatTheRequestHasAreNotReplaced() {
        for header in ["content-length=0", "Host=x", "a%0d%0ab=c", "a=b%0d%0ac:d", "=x", "a=%GG"] {
            #expect(throws: ExportSettingsError.self) {
                try read([
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_EXPORTER_OTLP_HEADERS": header,
                ])
            }
        }
    }

    @Test func theProcessKnowsWhoItIs() {
        let variables = ["NODE_NAME": "node-7", "POD_NAME": "kamld-x", "OTEL_SERVICE_NAME": "other"]
        let identity = ServiceIdentity.process(name: "kamld", version: "1") { variables[$0] }
        #expect(identity.name == "other" && identity.node == "node-7" && identity.pod == "kamld-x")
        #expect(identity.instance.hasPrefix("kamld-x-"))
        #expect(!identity.host.isEmpty)
    }
}
