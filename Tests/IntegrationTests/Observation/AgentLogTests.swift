import Glibc
import System
import Testing

extension OnMounts {
    @Suite(.serialized) struct `What an agent logs` {
        @Test func `one ECS object a line, whoever speaks`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved(["--log-level", "trace", "--node-name", "node-7"])
                _ = try node.mount()
                try node.endAgent()
                let lines = try node.logLines()
                #expect(lines.contains { $0["message"]?.string?.hasPrefix("mounted: data@main") == true })
                for line in lines {
                    let names = ["@timestamp", "log.level", "message", "log.logger", "host.name"]
                    for name in names { #expect(line[name]?.string?.isEmpty == false, "\(name) of \(line)") }
                    #expect(line["service.name"]?.string == "kamld")
                    #expect(line["service.node.name"]?.string == "node-7")
                    #expect(line["@timestamp"]?.string?.hasSuffix("Z") == true)
                }
            }
        }

        @Test func `words for people where they are asked for`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startObserved(["--log-format", "text"])
                #expect(node.log.contains("INFO   kamld: ready: the agent serves"), "\(node.log)")
            }
        }

        @Test func `SIGHUP changes the level, and what is wrong then changes nothing`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                let file = lab.path("kamld.yaml")
                try writeWhole(file, Array("log:\n  level: warning\n".utf8))
                try node.launchAgent(
                    ["--config", file, "--log-format", "json", "--http-listen", "127.0.0.1:0"], holding: false
                )
                // It says nothing of its own.
                #expect(try until(seconds: 20) { try lab.run(["kaml", "status"]).status == 0 })
                #expect(node.log == "")
                try writeWhole(file, Array("log:\n  level: debug\n".utf8))
                try node.agent.kill(SIGHUP)
                try node.waitForLog("reloaded: the configuration was read again: log.level")
                try writeWhole(file, Array("log:\n  level: loud\n".utf8))
                try node.agent.kill(SIGHUP)
                try node.waitForLog("nothing was changed")
                try node.endAgent()
                #expect(try node.logLines().contains { $0["log.level"]?.string == "debug" })
            }
        }

        @Test func `a full disk under the log is counted, and nothing else notices`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                let program = try node.launchAgent(
                    ["--http-listen", ByteString("unix:\(lab.path("http.sock"))"), "--log-format", "json"],
                    wrapper: ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"], holding: false)
                #expect(try until(seconds: 20) { try lab.run(["kaml", "status"]).status == 0 })
                let place = try node.mount()
                try lab.shell("diff", "-r", place, lab.source)
                let metrics = try lab.shell(
                    "curl", "-s", "--unix-socket", lab.path("http.sock"), "http://agent/metrics"
                ).text
                let line = metrics.split(separator: "\n").first {
                    $0.hasPrefix("kaml_log_dropped_total{reason=\"unwritable\"}")
                }
                #expect(line?.hasSuffix(" 0") == false, "\(line ?? "")")
                program.kill(SIGTERM)
                #expect(try program.wait(seconds: 30).status == 0)
            }
        }

        @Test func `why it ends at once is the last line`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try writeWhole(lab.path("file"), [])
                let program = try node.launchAgent(
                    ["--cache-directory", lab.path("file"), "--log-format", "json"], holding: false)
                #expect(try program.wait(seconds: 20).status != 0)
                let last = try #require(try node.logLines().last)
                #expect(last["log.level"]?.string == "critical", "\(last)")
                #expect(last["message"]?.string?.contains("\(lab.path("file"))") == true, "\(last)")
            }
        }
    }
}
