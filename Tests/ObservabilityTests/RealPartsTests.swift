import FoundationEssentials
import Glibc
import HTTPExchange
import HTTPTestSupport
import KamlTestSupport
import Logging
import System
import Telemetry
import Testing
import Transport

@testable import Observability

/// What comes of a helper of Tests/Servers, as JSON.
private func decoded<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    let line = text.split(separator: "\n").last { $0.hasPrefix("{") || $0.hasPrefix("[") } ?? ""
    do { return try JSONDecoder().decode(type, from: Data(line.utf8)) } catch {
        throw HelperFailure(text: text)
    }
}

private struct HelperFailure: Error { var text: String }

private let observers = repository + "/Tests/Servers/observers.py"

/// Programs that others wrote, so that what is written here is not only read here.
@Suite(.serialized)
struct RealPartsTests {
    let registry = MetricsRegistry()
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Every metric of the catalogue, with numbers.
    func fill() throws {
        ProcessMetrics.register(in: registry)
        registry.counter(MetricCatalogue.readBytes).add(3_000_000, .container)
        registry.counter(MetricCatalogue.readBytes).add(1_000_000, .store)
        registry.counter(MetricCatalogue.storeRequests).add(5, LabelPair(.get, .success))
        registry.histogram(MetricCatalogue.fetchDurationSeconds).record(40_000_000, .store)
        let trace = try #require(TraceID(high: 0xABC, low: 0xDEF))
        registry.histogram(MetricCatalogue.readDurationSeconds).record(
            70_000_000, .store, trace: trace, at: HostClock().now())
        registry.collect { collection in
            for metric in [
                MetricCatalogue.fuseRequestsInFlight, MetricCatalogue.mounts, MetricCatalogue.mountHung,
                MetricCatalogue.cacheLimitBytes, MetricCatalogue.cacheUsedBytes, MetricCatalogue.agentReady,
            ] { collection.add(metric, 1) }
            for opcode in OpcodeLabel.allCases { collection.add(MetricCatalogue.fuseRequests, opcode, 2) }
            collection.add(MetricCatalogue.agentBuildInfo, ["0.4.0", "abcdef"], 1)
            collection.add(MetricCatalogue.mountInfo, ["a\"b\\c\nd{}", "0123", "small"], 1)
            collection.add(MetricCatalogue.mountReadBytes, ["a\"b\\c\nd{}"], 17)
            collection.raise(MetricCatalogue.fuseOldestRequestSeconds, to: 1_500_000_000)
        }
    }

    @Test func promtoolFindsNothingWrongWithTheMetrics() throws {
        try fill()
        // What the fill leaves out is registered by nobody here; its names are checked all the same.
        let named = MetricCatalogue.all.map {
            "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) \(type($0))\n"
        }
        let text = String(decoding: registry.exposition(.prometheusText), as: UTF8.self)
        let seen = Set(
            text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
        )
        let missing = zip(MetricCatalogue.all, named).filter { !seen.contains(Substring($0.0.name)) }
        let whole = text + missing.map { $0.1 + sample($0.0) }.joined()
        let path = "\(directory.path)/metrics"
        try write(whole, to: path)
        let checked = try output(of: ["promtool", "check", "metrics"], input: path)
        #expect(checked.status == 0, "\(checked.text)")
        #expect(checked.text.isEmpty)
    }

    private func type(_ descriptor: MetricDescriptor) -> String {
        switch descriptor.kind {
        case .counter: "counter"
        case .gauge, .info: "gauge"
        case .histogram: "histogram"
        }
    }

    private func sample(_ descriptor: MetricDescriptor) -> String {
        guard descriptor.kind == .histogram else { return "\(descriptor.name) 0\n" }
        let name = descriptor.name
        return "\(name)_bucket{le=\"+Inf\"} 0\n\(name)_sum 0\n\(name)_count 0\n"
    }

    @Test func promtoolFindsNothingWrongWithTheAlerts() throws {
        let path = repository + "/Sources/Ground/Telemetry/alerts.yaml"
        let checked = try output(of: ["promtool", "check", "rules", path])
        #expect(checked.status == 0, "\(checked.text)")
        let rules = try output(of: ["cat", path]).text
        let known = Set(MetricCatalogue.all.map(\.name))
        let words = rules.split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
        for word in words where word.hasPrefix("kaml_") {
            let name = word.hasSuffix("_bucket") ? String(word.dropLast("_bucket".count)) : String(word)
            #expect(known.contains(name), "an alert speaks of \(name), which is not in the catalogue")
        }
    }

    struct Scrape: Decodable {
        struct Row: Decodable {
            var labels: [String: String]
            var value: String
        }
        var answers: [String: [Row]]
        var lastError: String
        var traces: [String]
    }

    @Test func prometheusScrapesAndAnswers() throws {
        try fill()
        let server = try ScriptedServer { [registry] request in
            let format = ExpositionFormat(accept: request["accept"])
            return [
                .answer(200, registry.exposition(format), fields: ["Content-Type: \(format.contentType)"])
            ]
        }
        defer { server.stop() }
        let expressions = [
            "kaml_read_bytes_total", "sum(kaml_read_bytes_total)", "kaml_mount_read_bytes_total",
            "histogram_quantile(0.5, kaml_fetch_duration_seconds_bucket)", "kaml_fuse_oldest_request_seconds",
            "count({__name__=~\"kaml_.+|process_.+\"})", "kaml_agent_build_info",
        ]
        let text = try output(
            of: ["python3", observers, "prometheus", server.origin.hostHeader] + expressions
        ).text
        let scrape = try decoded(Scrape.self, text)
        #expect(scrape.lastError == "")
        func value(_ expression: String, _ labels: [String: String] = [:]) -> String? {
            scrape.answers[expression]?.first { row in labels.allSatisfy { row.labels[$0.key] == $0.value } }?
                .value
        }
        #expect(value("kaml_read_bytes_total", ["tier": "store"]) == "1000000")
        #expect(value("sum(kaml_read_bytes_total)") == "4000000")
        #expect(value("kaml_mount_read_bytes_total", ["dataset": "a\"b\\c\nd{}"]) == "17")
        #expect(value("kaml_fuse_oldest_request_seconds") == "1.5")
        #expect(value("kaml_agent_build_info", ["version": "0.4.0"]) == "1")
        let quantile = try #require(
            Double(
                value("histogram_quantile(0.5, kaml_fetch_duration_seconds_bucket)", ["tier": "store"]) ?? "")
        )
        #expect(quantile > 0.025 && quantile <= 0.05)
        #expect(scrape.traces == ["0000000000000abc0000000000000def"])
        #expect(server.requests.first?["accept"]?.contains("application/openmetrics-text") == true)
    }

    struct Ports: Decodable { var http: UInt16 }

    struct ReceivedSpan: Decodable {
        var name: String
        var traceID: String
        var spanID: String
        var parentSpanID: String?
        var kind: String
        var attributes: [String: String]
        var resource: [String: String]

        enum CodingKeys: String, CodingKey {
            case name, kind, attributes, resource
            case traceID = "trace_id"
            case spanID = "span_id"
            case parentSpanID = "parent_span_id"
        }
    }

    @Test func aCollectorOfOthersGetsTheTraceOfARead() throws {
        let collector = try Helper(["python3", observers, "collector"])
        let ports = try decoded(Ports.self, try collector.line())
        let settings = try #require(
            try ExportSettings.read {
                [
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(ports.http)",
                    "OTEL_TRACES_SAMPLER": "always_on",
                ][$0]
            })
        let recorder = SpanRecorder(settings.sampler)
        var options = SpanExporter.Options()
        options.interval = 50_000_000
        let exporter = SpanExporter(
            recorder, HTTPSpanTransport(CurlHTTPClient(), settings), resource: identity.attributes,
            registry: registry, options: options
        ) { Issue.record("\($0)") }
        try exporter.start()
        let root = recorder.startRoot("read", .server)
        root.set("dataset", "imagenet@v2")
        let request = root.child("store request", .client)
        request.set("http.request.method", "GET")
        request.end()
        root.end()
        exporter.stop()
        try collector.say("read")
        let spans = try decoded([ReceivedSpan].self, try collector.line())
        let read = try #require(spans.first { $0.name == "read" })
        let child = try #require(spans.first { $0.name == "store request" })
        #expect(Data(base64Encoded: read.traceID).map { Array($0) } == root.context.traceID.bytes)
        #expect(child.traceID == read.traceID && child.parentSpanID == read.spanID)
        #expect(read.kind == "SPAN_KIND_SERVER" && child.kind == "SPAN_KIND_CLIENT")
        #expect(read.attributes["dataset"] == "imagenet@v2")
        #expect(read.resource["service.name"] == "kamld" && read.resource["k8s.node.name"] == "node-1")
    }

    @Test func aShipperOfOthersUnderstandsEachLine() throws {
        let path = "\(directory.path)/log"
        let file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        defer { close(file) }
        let pipeline = try LogPipeline(.json(file), identity, registry: registry)
        let texts = ["plain", "two\nlines", "\"quoted\" \\ and \u{1b}[31m", "日本語 \u{1F600}", "{\"a\":1}"]
        for text in texts { pipeline.log(.warning, "kaml.test", text, ["dataset": "\(text)"]) }
        pipeline.stop()
        let answer = try output(of: ["python3", observers, "shipper", path, "\(texts.count)"]).text
        // The shipper adds an object of its own, which has no place here.
        let shipment = try decoded(Shipment.self, answer)
        #expect(shipment.refused.isEmpty)
        #expect(shipment.shipped.map { $0["message"] } == texts)
        #expect(shipment.shipped.allSatisfy { $0["log.level"] == "warning" && $0["service.name"] == "kamld" })
        #expect(shipment.shipped.map { $0["labels.dataset"] } == texts)
    }

    private func write(_ text: String, to path: String) throws {
        let file = try FileDescriptor.open(ByteString(path), O_CREAT | O_WRONLY | O_TRUNC)
        let bytes = Array(text.utf8)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }
}

/// Objects of which only the texts are looked at.
private struct Shipment: Decodable {
    struct Line: Decodable {
        var values: [String: String] = [:]
        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Fields.Key.self)
            for key in container.allKeys {
                values[key.stringValue] = try? container.decode(String.self, forKey: key)
            }
        }
        subscript(_ key: String) -> String? { values[key] }
    }
    var shipped: [Line]
    var refused: [String]
}

/// A helper that answers a line with a line, and ends when its input closes.
private final class Helper {
    private let socket: Int32
    private let process: pid_t
    private var unread: [UInt8] = []

    init(_ words: [String]) throws {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno.last }
        defer { close(ends[1]) }
        socket = ends[0]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        let arguments = words.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        let status = posix_spawnp(&child, words[0], &actions, nil, arguments + [nil], environ)
        guard status == 0 else { throw Errno(rawValue: status) }
        process = child
    }

    deinit {
        close(socket)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    func say(_ text: String) throws {
        let bytes = Array((text + "\n").utf8)
        guard send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { throw Errno.last }
    }

    /// Its next line; installing what it needs may take a minute.
    func line() throws -> String {
        while true {
            if let end = unread.firstIndex(of: 10) {
                defer { unread.removeSubrange(...end) }
                return String(decoding: unread[..<end], as: UTF8.self)
            }
            var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 180_000) > 0 else { throw HelperFailure(text: "no answer") }
            var piece = [UInt8](repeating: 0, count: 65536)
            let count = recv(socket, &piece, piece.count, 0)
            guard count > 0 else { throw HelperFailure(text: "it ended without an answer") }
            unread += piece.prefix(count)
        }
    }
}
