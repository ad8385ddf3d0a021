import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// A secret that is easy to find must not be found where secrets do not belong.
    @Suite struct Secrets {
        private static let canary = "CanaryKeyThatMustNeverBeSeen0123456789ab"
        private static let token = "CanaryTokenThatMustNeverBeSeen9876543210"

        /// moto accepts any secret, so the server needs not know the canary.
        @Test
        func `no secret is in an answer, a log, a cache, a store or a command line, whatever goes wrong`()
            async throws
        {
            let server = try S3Server.shared(.moto)
            let proxy = try FaultProxy(server)
            try await inLab { lab in
                try lab.makeSmallTree()
                lab.use(server, through: proxy)
                lab.set(["AWS_SECRET_ACCESS_KEY": Self.canary, "AWS_SESSION_TOKEN": Self.token])
                var said = ""
                func run(_ words: [ByteString]) throws {
                    let ended = try lab.run(["kaml"] + words)
                    said += ended.text + ended.errors
                }
                try run(["store", "init"])
                try run(["commit", "data", lab.source])
                for fault in [
                    "status", "slowdown", "expired", "redirect", "html200", "header_flood", "reset",
                    "broken_xml",
                ] {
                    try proxy.damage(fault, "", count: 3)
                    try run(["ls", "data"])
                    try run(["check", "-o", "json"])
                }
                try proxy.heal()
                try run(["doctor"])
                try run(["stats", "-o", "json"])
                // One in a URL is refused, and not repeated.
                try run(["ls", "data", "--store", ByteString("s3://someone:\(Self.canary)@bucket/prefix")])
                let mount = try lab.mount()
                try proxy.damage("expired", "/packs/", count: 2)
                _ = try lab.run(["cat", mount.path("large")])
                try proxy.heal()
                #expect(try differences(lab.source, mount.path) == [])
                let line = try readWhole(ByteString("/proc/\(mount.program.process)/cmdline"))
                said += String(decoding: line, as: UTF8.self)
                try mount.unmount()
                said += mount.log

                for secret in [Self.canary, Self.token] {
                    #expect(!said.contains(secret))
                    // Whatever files were written: logs, cache, statistics.
                    let found = try lab.run(["grep", "-rlaF", ByteString(secret), lab.directory])
                    #expect(found.status == 1, "\(found.text)")
                }
            }
        }
    }
}
