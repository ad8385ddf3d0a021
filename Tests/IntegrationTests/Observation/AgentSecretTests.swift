import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// Secrets that are easy to find must not be found where they do not belong.
    @Suite struct `Secrets of an agent` {
        private static let key = "CanaryKeyThatMustNeverBeSeen0123456789ab"
        private static let token = "CanaryTokenThatMustNeverBeSeen9876543210"
        private static let header = "CanaryHeaderThatMustNeverBeSeen55555555"
        private static let cacheKey = "c0ffee0123456789c0ffee0123456789c0ffee0123456789c0ffee0123456789"
        private static let other = "CanaryVariableThatMustNeverBeSeen777777"

        @Test
        func `are in no log, metric, span, event, bundle, command line or error, whatever goes wrong`()
            async throws
        {
            let server = try S3Server.shared(.moto)
            let proxy = try FaultProxy(server)
            let collector = try TraceCollector()
            try await inLab(seconds: 240) { lab in
                let url = lab.use(server, through: proxy)
                let node = try LabNode(lab)
                // Outside of what is searched.
                let vault = try TemporaryDirectory()
                defer { TemporaryDirectory.remove(vault.path) }
                let credentials = vault.path.appending("credentials")
                let text =
                    "[default]\naws_access_key_id = \(server.keys["AWS_ACCESS_KEY_ID"] ?? "")\n"
                    + "aws_secret_access_key = \(Self.key)\naws_session_token = \(Self.token)\n"
                try writeWhole(credentials, Array(text.utf8), mode: 0o600)
                let headers = vault.path.appending("headers")
                try writeWhole(headers, Array("x-api-key: \(Self.header)\n".utf8), mode: 0o600)
                let cacheKey = vault.path.appending("cache-key")
                try writeWhole(cacheKey, Array("\(Self.cacheKey)\n".utf8), mode: 0o600)
                lab.set(["SOME_PASSWORD": Self.other])
                try node.startObserved([
                    "--stores-main-url", ByteString(url), "--stores-main-patience-seconds", "1",
                    "--stores-main-credentials-file", credentials, "--log-level", "trace",
                    "--tracing-endpoint", collector.endpoint("http"), "--tracing-sample-ratio", "1",
                    "--tracing-headers-file", headers, "--cache-key-file", cacheKey,
                ])
                var said = ""
                func run(_ words: [ByteString]) throws {
                    let ended = try lab.run(["kaml"] + words)
                    said += ended.text + ended.errors
                }
                let place = try node.mount()
                for fault in ["status", "slowdown", "expired", "redirect", "html200", "reset", "broken_xml"] {
                    try proxy.damage(fault, "", count: 4)
                    try run(["warm", "data", "--check"])
                    _ = try lab.run(["sh", "-c", "cat \"$0\"/dir*/small1* > /dev/null", place])
                }
                try proxy.heal()
                try run(["mount", "data", "/nowhere/else"])
                try run([
                    "warm", "data", "--store", ByteString("s3://someone:\(Self.key)@bucket/prefix"),
                    "--agent",
                    node.socket,
                ])
                try run(["status", "-o", "json"])
                try run(["events"])
                try run(["top", "--once", "-o", "json"])
                let bundle = lab.path("bundle.tar.zst")
                try run(["debug", "bundle", "--file", bundle])
                try lab.shell("sh", "-c", "cd \"$0\" && zstd -dc bundle.tar.zst | tar xf -", lab.directory)
                #expect(try readWhole(lab.path("agent/kamld.yaml")).count > 100)
                #expect(try readWhole(lab.path("agent/metrics.txt")).count > 1000)
                said += try node.get("/metrics") + node.get("/healthz")
                for file in ["cmdline", "status", "comm"] {
                    let path = ByteString("/proc/\(try node.agent.process)/\(file)")
                    said += String(decoding: try readWhole(path), as: UTF8.self)
                }
                try node.endAgent()
                said += try collector.spans().map { "\($0)" }.joined()
                said += node.log
                #expect(said.contains("expired") || said.contains("Expired"), "the faults were felt")

                for secret in [Self.key, Self.token, Self.header, Self.other, Self.cacheKey] {
                    #expect(!said.contains(secret))
                    let found = try lab.run(["grep", "-rlaF", ByteString(secret), lab.directory])
                    #expect(found.status == 1, "\(found.text)")
                }
            }
        }
    }
}
