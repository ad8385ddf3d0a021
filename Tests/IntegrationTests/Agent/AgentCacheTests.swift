import Glibc
import System
import Testing

extension OnMounts {
    /// What an agent keeps in its cache, and for whom.
    @Suite(.serialized) struct `An agent's cache` {
        @Test func `keeps what is pinned, also over a restart, until the pin is ended`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                try lab.kaml("warm", "data")
                #expect(try lab.kaml("pin", "data", "--for", "1h").text.contains("pinned until"))
                #expect(try lab.kaml("warm", "data", "--evict").text.contains("pinned"))
                try node.replaceAgent()
                #expect(try lab.kaml("warm", "data", "--evict").text.contains("pinned"))
                try lab.kaml("warm", "data", "--check")
                #expect(try lab.kaml("pin", "data", "--end").text.contains("not pinned"))
                try lab.kaml("warm", "data", "--evict")
                #expect(try lab.run(["kaml", "warm", "data", "--check"]).status == 1)
            }
        }

        @Test(
            arguments: ["", "12", "h", "0h", "1w", "99999999999999999999d", "18446744073709551615d"]
                as [ByteString])
        func `takes no pin for what is no time`(_ time: ByteString) async throws {
            try await inLab { lab in
                let ended = try lab.run(["kaml", "pin", "data", "--for", time])
                #expect(ended.status == 2, "\(ended)")
            }
        }

        @Test func `keeps to its limit, and to a new one after a reload`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                let file = lab.path("kamld.yaml")
                try lab.shell("sh", "-c", ByteString("echo 'cache: {maximumBytes: 1MiB}' > \(file)"))
                try node.startAgent(["--config", file])
                let place = try node.mount()
                #expect(try differences(lab.source, place) == [])
                func used() throws -> UInt64 {
                    let text = try lab.kaml("status", "-o", "json").text
                    let number = text.split(separator: "\"allocatedBytes\":").last?.drop { $0 == " " }
                        .prefix(while: \.isNumber)
                    return try #require(number.flatMap { UInt64($0) }, "\(text)")
                }
                #expect(try until(seconds: 10) { try used() <= 1 << 20 })
                try lab.shell("sh", "-c", ByteString("echo 'cache: {maximumBytes: 1GiB}' > \(file)"))
                try node.agent.kill(SIGHUP)
                try node.waitForLog("cache.maximumBytes")
                #expect(try differences(lab.source, place) == [])
                try lab.kaml("warm", "data")
                #expect(try used() > 1 << 20)
            }
        }

        @Test func `is encrypted with a key, and then nothing of a dataset is found in its files`()
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                let pattern = "canary-\(String(repeating: "kq7Zx", count: 12))"
                try writeWhole(lab.source.appending(ByteString("\(pattern).name")), Array(pattern.utf8))
                try writeWhole(
                    lab.source.appending("pattern"),
                    AgentTree.bytes(seed: 9, count: 100_000) + Array(pattern.utf8)
                        + AgentTree.bytes(seed: 10, count: 100_000))
                try lab.commit()
                let key = lab.path("key")
                try lab.shell("sh", "-c", ByteString("umask 077; openssl rand -hex 32 > \(key)"))
                try node.startAgent(["--cache-key-file", key])
                try node.waitForLog("passthrough is off")
                // The second time out of the cache; `large` would be passed through in the clear.
                let places = [try node.mount(), try node.mount("b", "--profile", "large")]
                for place in places { #expect(try differences(lab.source, place) == []) }
                #expect(try node.status().contains("the cache is encrypted"))
                try lab.kaml("pin", "data", "--for", "1h")
                let found = try lab.run(["grep", "-rlaF", ByteString(pattern), node.cache])
                #expect(found.status == 1, "\(found)")
                let names = try lab.run(["find", node.cache, "-name", "*canary*"])
                #expect(names.text.isEmpty, "\(names)")

                // Killed, it goes on; without its key it refuses, and tells what to do.
                try node.agent.kill(SIGKILL)
                _ = try node.agent.wait(seconds: 20)
                let refused = try node.launchAgent()
                let ended = try refused.wait(seconds: 20)
                #expect(ended.status != 0 && ended.errors.contains("cache.keyFile"), "\(ended)")
                try node.startAgent(["--cache-key-file", key])
                for place in places { #expect(try differences(lab.source, place) == []) }
                #expect(!node.log.contains(try String(decoding: readWhole(key).prefix(64), as: UTF8.self)))
            }
        }

        @Test func `does not call a mount of what a branch was the mount of what it is`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                #expect(try lab.run(["kaml", "mount", "data", place]).status == 0)
                try lab.shell("touch", lab.source.appending("another"))
                try lab.commit()
                let refused = try lab.run(["kaml", "mount", "data", place])
                #expect(refused.status == 4 && refused.errors.contains("by now"), "\(refused)")
                #expect(try lab.run(["kaml", "mount", "data", try node.place("b")]).status == 0)
            }
        }
    }
}
