import Glibc
import System
import Testing

extension OnS3 {
    @Suite(.serialized) struct `Traces of an agent` {
        @Test(arguments: ["http", "grpc"])
        func `a read that missed arrives as one trace, and the log names the trace of one that failed`(
            _ carrier: String
        ) async throws {
            let server = try S3Server.shared(.moto)
            let proxy = try FaultProxy(server)
            let collector = try TraceCollector()
            try await inLab { lab in
                let url = lab.use(server, through: proxy)
                lab.set(["POD_NAME": "trainer-0"])
                let node = try LabNode(lab)
                try node.startObserved([
                    "--stores-main-url", ByteString(url), "--stores-main-patience-seconds", "1",
                    "--node-name", "node-7", "--tracing-endpoint", collector.endpoint(carrier),
                    "--tracing-protocol", ByteString(carrier), "--tracing-sample-ratio", "1",
                ])
                let place = try node.mount()
                try lab.shell("cmp", place.appending("large0"), lab.source.appending("large0"))
                try proxy.damage("status", "/packs/", argument: 503)
                #expect(try lab.run(["cat", place.appending("large1")]).status != 0)
                try proxy.heal()
                try node.endAgent()

                let spans = try collector.spans()
                let byTrace = Dictionary(grouping: spans, by: \.trace)
                let whole = byTrace.values.filter { trace in
                    let names = Set(trace.map(\.name))
                    return names.isSuperset(of: ["read", "fetch", "store request", "verification", "write"])
                }
                let trace = try #require(whole.first, "\(byTrace.values.map { $0.map(\.name) })")
                let read = try #require(trace.first { $0.name == "read" })
                #expect(trace.filter { $0.parent.isEmpty }.map(\.id) == [read.id])
                let fetch = try #require(trace.first { $0.name == "fetch" })
                #expect(fetch.parent == read.id)
                for part in ["store request", "verification", "write"] {
                    #expect(trace.contains { $0.name == part && $0.parent == fetch.id }, "\(part)")
                }
                #expect(spans.contains { $0.name == "manifest" })
                #expect(read.attributes["kaml.dataset"]?.string == "data@main")
                #expect(read.resource["service.name"]?.string == "kamld")
                #expect(read.resource["service.version"]?.string?.isEmpty == false)
                #expect(read.resource["k8s.node.name"]?.string == "node-7")
                #expect(read.resource["k8s.pod.name"]?.string == "trainer-0")

                let failed = Set(spans.filter { $0.name == "read" && $0.hasFailed }.map(\.trace))
                let told = try node.logLines().compactMap { $0["trace.id"]?.string }
                #expect(!failed.isEmpty && !failed.isDisjoint(with: told), "\(failed) \(node.log)")
            }
        }

        @Test func `of reads that nobody sampled the failed and the slow are exported`() async throws {
            let server = try S3Server.shared(.moto)
            let proxy = try FaultProxy(server)
            let collector = try TraceCollector()
            try await inLab { lab in
                let url = lab.use(server, through: proxy)
                let node = try LabNode(lab)
                try node.startObserved([
                    "--stores-main-url", ByteString(url), "--stores-main-patience-seconds", "1",
                    "--tracing-endpoint", collector.endpoint("http"), "--tracing-sample-ratio", "0",
                    "--tracing-slow-milliseconds", "600000",
                ])
                let place = try node.mount()
                try lab.shell("cmp", place.appending("large0"), lab.source.appending("large0"))
                try proxy.damage("status", "/packs/", argument: 503)
                #expect(try lab.run(["cat", place.appending("large1")]).status != 0)
                try proxy.heal()
                try node.endAgent()
                let reads = try collector.spans().filter { $0.name == "read" }
                #expect(!reads.isEmpty && reads.allSatisfy(\.hasFailed))
            }
        }
    }
}

extension OnMounts {
    @Suite(.serialized) struct `An agent whose collector is no help` {
        /// Nobody listens there, or somebody who never answers.
        @Test(arguments: ["http", "grpc"], [false, true])
        func `reads and the end of the agent go on as ever, and what is dropped is counted`(
            _ carrier: String, _ hangs: Bool
        ) async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                let listener = try SilentListener()
                if !hangs { listener.close() }
                try node.startObserved([
                    "--tracing-endpoint", ByteString("http://127.0.0.1:\(listener.port)"),
                    "--tracing-protocol", ByteString(carrier), "--tracing-sample-ratio", "1",
                ])
                let place = try node.mount()
                let took = try seconds {
                    try lab.shell("diff", "-r", place, lab.source)
                }
                #expect(took < 20)
                #expect(try node.get("/healthz") == "ok\n")
                if !hangs {
                    #expect(
                        try until(seconds: 40) {
                            let name = "kaml_trace_spans_dropped_total{reason=\"unreachable\"}"
                            return try node.sample(name) ?? 0 > 0
                        }, "\(node.log)")
                    #expect(try node.logLines().contains { $0["log.logger"]?.string == "kamld.tracing" })
                }
                // The farewell to the collector has three seconds.
                #expect(try node.endAgent() < 12)
            }
        }
    }
}

/// Accepts connections, up to its backlog, and says nothing.
final class SilentListener {
    let port: UInt16
    private let socket: Int32

    init() throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = socket
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && getsockname(socket, address, &length) == 0
                    && listen(socket, 16) == 0
            }
        }
        guard status else { throw Errno.last }
        port = UInt16(bigEndian: address.sin_port)
    }

    func close() { Glibc.shutdown(socket, Int32(SHUT_RDWR)) }

    deinit { Glibc.close(socket) }
}
