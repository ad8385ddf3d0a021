import Glibc
import System
import Testing

extension OnMounts {
    /// Faults of the list that have no place elsewhere.
    @Suite(.serialized) struct `Faults of an agent` {
        @Test func `of HTTP paths none but the three documented ones tells anything`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved()
                let paths = [
                    "/", "/debug", "/debug/pprof/", "/debug/vars", "/metrics/", "/metrics/../etc/passwd",
                    "/config",
                    "/status", "/env", "//metrics", "/healthz/x", "/%6detrics", "/.git/config", "/metrics%00",
                ]
                func status(_ path: String) throws -> String {
                    try lab.run([
                        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "--max-time",
                        "20",
                        ByteString("http://\(try node.endpoint)\(path)"),
                    ]).text
                }
                for path in paths {
                    let code = try status(path)
                    #expect(code == "404" || code == "400", "\(path): \(code)")
                }
                for path in ["/metrics", "/healthz", "/readyz"] { #expect(try status(path) == "200") }
                try node.endAgent()
            }
        }

        @Test func `readers that are killed in the middle of reads leave nothing behind`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                let folder = ByteString("/proc/\(try node.agent.process)/fd")
                #expect(try differences(lab.source, place) == [])
                let before = try HostFileSystem().list(folder).count
                for number in 0..<60 {
                    let signal = ["KILL", "TERM", "INT"][number % 3]
                    let moment = "0.0\(1 + number % 9)"
                    _ = try lab.run([
                        "timeout", "-s", ByteString(signal), ByteString(moment), "sh", "-c",
                        "while :; do cat \"$0\"/large* \"$0\"/dir*/* > /dev/null; done", place,
                    ])
                }
                #expect(try differences(lab.source, place) == [])
                // Nothing is in hand: otherwise it could not be unmounted in order.
                #expect(try until(seconds: 10) { try HostFileSystem().list(folder).count <= before + 4 })
                try lab.kaml("umount", place)
            }
        }
    }
}
