import Glibc
import System
import Testing

extension OnMounts {
    @Suite(.serialized) struct `An agent that is spoken to badly` {
        /// Opens a connection and sends bytes, without waiting for an answer.
        static func send(_ bytes: [UInt8], to place: Place) throws -> FileDescriptor {
            let raw: Int32
            let status: Int32
            switch place {
            case .port(let port):
                raw = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
                address.sin_port = port.bigEndian
                status = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            case .socket(let path):
                raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
                var address = sockaddr_un()
                address.sun_family = sa_family_t(AF_UNIX)
                withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.bytes) }
                status = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                    }
                }
            }
            let descriptor = FileDescriptor(owning: raw)
            guard status == 0 else { throw Errno.last }
            // It may hang up in the middle, and that is fine.
            _ = bytes.withUnsafeBytes {
                Glibc.send(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            return descriptor
        }

        enum Place { case port(UInt16), socket(ByteString) }

        static func garbage(_ seed: UInt64) -> [UInt8] {
            switch seed % 4 {
            case 0: AgentTree.bytes(seed: UInt8(truncatingIfNeeded: seed), count: 3000)
            case 1:
                Array("GET /metrics HTTP/1.1\r\n".utf8) + Array(repeating: UInt8(ascii: "a"), count: 40_000)
            // HTTP/2's preface, and then frames that are none.
            case 2:
                Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
                    + AgentTree.bytes(seed: UInt8(truncatingIfNeeded: seed), count: 500)
            default: Array("POST /metrics HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n".utf8)
            }
        }

        @Test func `garbage and slow talk at the HTTP endpoint keep nobody else out`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved()
                let port = try #require(UInt16(try node.endpoint.split(separator: ":").last ?? ""))
                for seed in 0..<60 { _ = try Self.send(Self.garbage(UInt64(seed)), to: .port(port)) }
                // More than are taken at a time, each in the middle of its question.
                let slow = try (0..<200).map { _ in
                    try Self.send(Array("GET /metr".utf8), to: .port(port)).release()
                }
                defer { for descriptor in slow { close(descriptor) } }
                for _ in 0..<5 { #expect(try node.get("/healthz") == "ok\n") }
                let open = try node.sample("process_open_fds") ?? 0
                #expect(open < 200, "\(open)")
                #expect(try node.get("/nothing").contains("not here"))
                try node.endAgent()
            }
        }

        @Test func `garbage and a flood at the admin socket keep nobody else out`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved()
                for seed in 0..<60 { _ = try Self.send(Self.garbage(UInt64(seed)), to: .socket(node.socket)) }
                let idle = try (0..<300).map { _ in try Self.send([], to: .socket(node.socket)).release() }
                #expect(try node.status().contains("ready"))
                for descriptor in idle { close(descriptor) }
                // Many at once, each a process of its own.
                let askers = try (0..<40).map { _ in try lab.start(["kaml", "status", "-o", "json"]) }
                for asker in askers { #expect(try asker.wait(seconds: 60).status == 0) }
                // Watchers that never end do not keep the agent from ending.
                let watcher = try lab.start(["kaml", "events", "--follow"])
                #expect(try until(seconds: 20) { try readWhole(watcher.outputPath).count > 0 })
                #expect(try node.endAgent() < 20)
                _ = try watcher.wait(seconds: 20)
            }
        }

        @Test func `every kind of bad configuration is refused in words, all faults at once`() async throws {
            try await inLab { lab in
                let secret = lab.path("headers")
                try writeWhole(secret, Array("authorization: x\n".utf8), mode: 0o644)
                let broken = lab.path("broken.yaml")
                try writeWhole(broken, Array("cache: [\n".utf8))
                let wrong = lab.path("wrong.yaml")
                try writeWhole(
                    wrong, Array("log: {level: loud}\ncache: {maximumBytes: much}\nnope: {}\n".utf8))
                let noHeaders = lab.path("noheaders")
                try writeWhole(noHeaders, Array("no header\n".utf8), mode: 0o600)
                let collector: [ByteString] = ["--tracing-endpoint", "http://127.0.0.1:1"]
                let table: [([ByteString], [String])] = [
                    (["--config", lab.path("missing.yaml")], ["missing.yaml", "cannot be read"]),
                    (["--config", lab.directory], ["cannot be read"]),
                    (["--config", broken], ["broken.yaml:2:1"]),
                    (
                        ["--config", wrong],
                        ["wrong.yaml:1:14: log.level", "wrong.yaml:2:23: cache.max", "nope"]
                    ),
                    (["--log-levle", "info"], ["did you mean --log-level"]),
                    (["--cache-fetch-threads", "0"], ["1 to 512"]),
                    (["--http-listen", "127.0.0.1:99999"], ["host:port"]),
                    (["--tracing-sample-ratio", "nan"], ["tracing.sampleRatio"]),
                    (["--tracing-endpoint", "ftp://x"], ["tracing.endpoint"]),
                    (["--tracing-endpoint", "http://user:pass@host"], ["tracing.endpoint"]),
                    (collector + ["--tracing-headers-file", secret], ["chmod 0600"]),
                    (collector + ["--tracing-headers-file", noHeaders], ["name: value"]),
                    (["--stores-main-url", "relative"], ["absolute"]),
                    (["--stores-Main-url", "/x"], ["cannot name a store"]),
                    (["--stores-default", "nowhere"], ["there is no store"]),
                    (
                        ["--cache-directory", "x", "--admin-socket", "y"],
                        ["cache.directory", "admin.socket"]
                    ),
                ]
                for (flags, words) in table {
                    let ended = try lab.run(["kamld", "agent", "--check-config"] + flags)
                    #expect(ended.status == 2, "\(flags): \(ended)")
                    for word in words { #expect(ended.errors.contains(word), "\(flags): \(ended)") }
                    #expect(!ended.errors.contains("pass@"))
                }
                let good = try lab.run(["kamld", "agent", "--check-config"] + collector)
                #expect(good.status == 0 && good.text == "the configuration is good\n", "\(good)")
            }
        }
    }
}
