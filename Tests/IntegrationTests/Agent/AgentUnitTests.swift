import Glibc
import System
import Testing

extension OnMounts {
    /// The command lines of systemd/ are ones that the programs take.
    @Suite(.serialized) struct `Units for systemd name real commands` {
        private static let top = String(
            #filePath.dropLast("Tests/IntegrationTests/Agent/AgentUnitTests.swift".count))

        /// The value of a unit's only line of this key, its words.
        private static func words(_ key: String, of unit: String) throws -> [String] {
            let text = String(decoding: try readWhole(ByteString(top + "systemd/" + unit)), as: UTF8.self)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(key + "=") })
            return line.dropFirst(key.count + 1).split(separator: " ").map(String.init)
        }

        private static func program(_ path: String) throws -> ByteString {
            ByteString(String(try #require(path.split(separator: "/").last)))
        }

        @Test(arguments: ["ExecStartPre", "ExecStart"]) func `of the agent`(_ key: String) async throws {
            try await inLab { lab in
                let words = try Self.words(key, of: "kamld.service")
                let environment = try Self.words("Environment", of: "kamld.service").map {
                    $0.split(separator: "=", maxSplits: 1).map(String.init)
                }
                let file = lab.path("kamld.yaml")
                try writeWhole(file, Array("stores: {main: {url: \"file:///data\"}}\n".utf8))
                var line = try [Self.program(words[0])]
                for word in words.dropFirst() {
                    line.append(word == "/etc/kaml/kamld.yaml" ? file : ByteString(word))
                }
                if key == "ExecStart" { line.append("--check-config") }
                let ended = try lab.run(
                    line, environment: Dictionary(uniqueKeysWithValues: environment.map { ($0[0], $0[1]) }))
                #expect(ended.status == 0, "\(ended)")
            }
        }

        @Test func `of the holder`() async throws {
            try await inLab { lab in
                let words = try Self.words("ExecStart", of: "kamld-holder.service")
                let socket = lab.path("holder.sock")
                let line = try words.enumerated().map { index, word in
                    switch word {
                    case "/run/kaml/holder.sock": socket
                    // No such user where the tests run.
                    case "kaml": "65534" as ByteString
                    default: index == 0 ? try Self.program(word) : ByteString(word)
                    }
                }
                let holder = try lab.start(line)
                #expect(try until(seconds: 20) { (try? MessageSocket.connect(to: socket)) != nil })
                holder.kill(SIGTERM)
                #expect(try holder.wait().status == 0)
            }
        }
    }
}
