import Glibc
import System
import Testing

extension OnMounts {
    @Suite(.serialized) struct `The metrics of an agent` {
        /// The names that the catalogue lists.
        static func catalogue() throws -> [String] {
            let root = #filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 }
            let text = String(
                decoding: try readWhole(ByteString(root + "/Sources/Ground/Telemetry/metrics.yaml")),
                as: UTF8.self)
            return text.split(separator: "\n").compactMap { line in
                guard line.hasPrefix("  - {name: ") else { return nil }
                return String(line.drop { $0 != ":" }.dropFirst(2).prefix { $0 != "," })
            }
        }

        /// A read, a write into the cache, a lookup, a scrape.
        static func traffic(_ node: LabNode) throws {
            let place = try node.mount()
            for _ in 0..<2 { try node.lab.shell("diff", "-r", place, node.lab.source) }
            try node.lab.kaml("warm", "data")
            _ = try node.get("/metrics")
        }

        @Test func `every one of the catalogue is there after a bit of traffic`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved(["--tracing-endpoint", "http://127.0.0.1:9"])
                try Self.traffic(node)
                let text = try node.get("/metrics")
                let shown = Set(
                    text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map {
                        String($0.split(separator: " ")[2])
                    })
                let names = try Self.catalogue()
                #expect(names.count > 60)
                #expect(names.filter { !shown.contains($0) } == [])
            }
        }

        @Test func `promtool finds nothing wrong with a scrape, and Prometheus answers questions`()
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved()
                try Self.traffic(node)
                try writeWhole(lab.path("scrape"), Array(try node.get("/metrics").utf8))
                let checked = try lab.run([
                    "sh", "-c", "promtool check metrics < \"$0\"", lab.path("scrape"),
                ])
                #expect(checked.status == 0 && checked.text + checked.errors == "", "\(checked)")

                let expressions = [
                    "sum(kaml_read_bytes_total)", "kaml_mounts", "kaml_agent_ready", "kaml_mount_info",
                    "kaml_mount_read_bytes_total", "sum(kaml_fuse_requests_total)",
                    "histogram_quantile(0.99, sum by (le) (kaml_read_duration_seconds_bucket))",
                    "kaml_agent_build_info", "kaml_cache_filled_bytes_total",
                ]
                let scrape = try Conversation(
                    "observers.py", ["prometheus", try node.endpoint] + expressions, seconds: 120)
                #expect(scrape.greeting["lastError"]?.string == "")
                func value(_ expression: String) -> Double? {
                    let row = scrape.greeting["answers"]?[expression]?.list.first
                    return row?["value"]?.string.flatMap { Double($0) }
                }
                let bytes = try #require(try byteCount(lab.source))
                #expect(value("sum(kaml_read_bytes_total)") ?? 0 >= Double(bytes))
                #expect(value("kaml_mount_read_bytes_total") == value("sum(kaml_read_bytes_total)"))
                #expect(value("kaml_cache_filled_bytes_total") ?? 0 >= Double(bytes))
                for one in ["kaml_mounts", "kaml_agent_ready", "kaml_mount_info", "kaml_agent_build_info"] {
                    #expect(value(one) == 1, "\(one)")
                }
                #expect(value("sum(kaml_fuse_requests_total)") ?? 0 > 80)
                #expect(value(expressions[6]) ?? 0 > 0)
                let info = scrape.greeting["answers"]?["kaml_mount_info"]?.list.first?["labels"]
                #expect(info?["dataset"]?.string == "data")
            }
        }

        private func byteCount(_ directory: ByteString) throws -> Int? {
            var sum = 0
            for entry in try HostFileSystem().list(directory) {
                let path = directory.appending(entry.name)
                let status = try HostFileSystem().status(of: path)
                sum += status.kind == .directory ? try byteCount(path) ?? 0 : Int(status.size)
            }
            return sum
        }
    }
}
