import System
import Testing

@testable import Agent

@Suite("The agent's configuration")
struct ConfigurationTests {
    static let host = HostSurroundings(isRoot: true, hostName: "node-1", variables: [:])

    static func read(
        _ text: String = "", variables: [String: String] = [:], flags: [String] = []
    ) throws(ConfigurationProblems) -> AgentConfiguration {
        var host = host
        host.variables = variables
        return try ConfigurationReader.read(
            file: (name: "kamld.yaml", bytes: Array(text.utf8)), flags: flags, host: host,
            secretFile: { _ in nil })
    }

    static func problems(
        _ text: String = "", variables: [String: String] = [:], flags: [String] = []
    ) -> [String] {
        do throws(ConfigurationProblems) {
            _ = try read(text, variables: variables, flags: flags)
            return []
        } catch { return error.list.map(\.description) }
    }

    @Test("is the defaults where nothing is said")
    func defaults() throws {
        #expect(try Self.read() == AgentConfiguration(defaultsFor: Self.host))
        #expect(try Self.read("# nothing\n") == AgentConfiguration(defaultsFor: Self.host))
    }

    @Test("takes a flag before the environment, that before the file, and that before the default")
    func precedence() throws {
        let file = "mounts:\n  threads: 5\n  maximum: 6\n  readAheadKiB: 7\n"
        let variables = ["KAML_MOUNTS_THREADS": "15", "KAML_MOUNTS_MAXIMUM": "16"]
        let configuration = try Self.read(file, variables: variables, flags: ["--mounts-threads", "25"])
        #expect(configuration.mounts.threads == 25)
        #expect(configuration.mounts.maximum == 16)
        #expect(configuration.mounts.readAheadKiB == 7)
        #expect(configuration.cache.fetchThreads == 32)
    }

    @Test("keeps its cache where a unit's CacheDirectory= is, unless told otherwise")
    func unitsDirectory() throws {
        let variables = ["CACHE_DIRECTORY": "/var/cache/unit"]
        #expect(try Self.read(variables: variables).cache.directory == "/var/cache/unit")
        let file = "cache: {directory: /nvme}"
        #expect(try Self.read(file, variables: variables).cache.directory == "/nvme")
    }

    @Test(
        "has every key in the file, in the environment and as a flag",
        arguments: Setting<AgentConfiguration>.all.indices)
    func everyWay(_ index: Int) throws {
        let setting = Setting<AgentConfiguration>.all[index]
        guard setting.key != "stores.default" else { return }
        // Another value than the default's, of the setting's own form.
        let values = [
            "7", "0.5", "grpc", "/x", "unix:/x", "true", "false", "debug", "json", "http://x", "x",
            "user:7=x",
        ]
        let changed = values.first { value in
            var other = AgentConfiguration(defaultsFor: Self.host)
            guard (try? setting.set(value, &other)) != nil else { return false }
            return other != AgentConfiguration(defaultsFor: Self.host)
        }
        let value = try #require(changed)
        var expected = AgentConfiguration(defaultsFor: Self.host)
        try setting.set(value, &expected)
        #expect(try Self.read("\(setting.path[0]):\n  \(setting.path[1]): \(value)\n") == expected)
        #expect(try Self.read(variables: [setting.variable: value]) == expected)
        #expect(try Self.read(flags: [setting.flag, value]) == expected)
        #expect(try Self.read(flags: ["\(setting.flag)=\(value)"]) == expected)
    }

    @Test("names stores in the file, in the environment and by flags")
    func stores() throws {
        let configuration = try Self.read(
            "stores:\n  default: main\n  main:\n    url: s3://b/p\n    region: eu\n",
            variables: ["KAML_STORES_OTHER_ONE_URL": "/data"], flags: ["--stores-main-region", "us"])
        #expect(configuration.stores["main"]?.url == "s3://b/p")
        #expect(configuration.stores["main"]?.region == "us")
        #expect(configuration.stores["other-one"]?.url == "/data")
        #expect(configuration.defaultStore == "main")
    }

    @Test("tells everything that is wrong at once, each with its place")
    func allProblems() {
        let text = """
            cache:
              directory: rel
              directory: /x
            log:
              levle: info
              level: loud
            mounts: 4
            stores:
              Bad: {}
              a: {}
            """
        #expect(
            Self.problems(
                text, variables: ["KAML_HTTP_LISTEN": "nope"],
                flags: ["--mounts-maximm", "3", "--cache-fetch-threads=0", "--log-level"])
                == [
                    "kamld.yaml:3:3: cache.directory is here a second time; the first is in line 2",
                    "kamld.yaml:2:14: cache.directory: a path here is absolute",
                    "kamld.yaml:5:3: there is no log.levle; did you mean log.level?",
                    "kamld.yaml:6:10: log.level: one of trace, debug, info, notice, warning, error, critical",
                    "kamld.yaml:7:9: mounts is a group of keys, not a value",
                    "kamld.yaml:9:3: \"Bad\" cannot name a store: small letters, digits and -, at most 32",
                    "KAML_HTTP_LISTEN: http.listen: host:port as in 127.0.0.1:9477, unix:/path, or off",
                    "--mounts-maximm: there is no such flag; did you mean --mounts-maximum?",
                    "--cache-fetch-threads: cache.fetchThreads: a whole number, 1 to 512",
                    "--log-level: a value is missing", "kamld.yaml:10:3: stores.a has no url",
                ])
    }

    @Test(
        "says where a file is no YAML that is taken",
        arguments: [
            ("cache: [", "kamld.yaml:"), ("cache: &a {}\n", "kamld.yaml:1:8: anchors and aliases"),
            ("log: {}\n---\nlog: {}\n", "kamld.yaml:2:1: a second document"),
            ("just words", "kamld.yaml:1:1: keys"),
            ("\u{1}", "kamld.yaml:"), (String(repeating: "[", count: 100), "kamld.yaml:1:"),
        ])
    func broken(_ text: String, _ start: String) {
        let problems = Self.problems(text)
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix(start) == true, "\(problems)")
    }

    @Test("repeats no secret that stands where it does not belong")
    func noSecrets() {
        let canary = "canary-5d1f"
        let problems = Self.problems(
            "stores:\n  a:\n    url: s3://key:\(canary)@bucket\n    endpoint: https://u:\(canary)@host\n",
            variables: ["KAML_TRACING_ENDPOINT": "https://u:\(canary)@host"])
        #expect(problems.count == 3)
        #expect(!problems.joined().contains(canary))
    }

    @Test("refuses files with secrets that everybody can read")
    func secretFiles() throws {
        let problems = { () -> [String] in
            do throws(ConfigurationProblems) {
                _ = try ConfigurationReader.read(
                    file: (
                        "f",
                        Array(
                            "tracing: {headersFile: /h}\nstores: {a: {url: /d, credentialsFile: /c}}\n".utf8)
                    ),
                    flags: [], host: Self.host,
                    secretFile: { _ in "can be read by everybody; run chmod 0600 on it" })
                return []
            } catch { return error.list.map(\.place) }
        }()
        #expect(problems == ["f:2:40", "f:1:24"])
    }

    @Test("renders a commented file that reads back as what it is")
    func rendering() throws {
        var configuration = AgentConfiguration(defaultsFor: Self.host)
        #expect(try Self.read(configuration.rendered()) == configuration)
        configuration.node = "a \"b\" \\ \u{1}: #x"
        configuration.cache.maximumBytes = 5 << 40
        configuration.stores["main"] = NamedStore()
        configuration.stores["main"]?.url = "s3://b/p"
        configuration.defaultStore = "main"
        #expect(try Self.read(configuration.rendered()) == configuration)
        #expect(try Self.read(configuration.rendered(withComments: false)) == configuration)
    }

    /// `sudo kamld agent --print-config FLAGS > Sources/Wiring/Agent/Configuration/kamld.example.yaml` makes it.
    @Test("has an example with every key, which says what is true now")
    func example() throws {
        let flags = [
            "--node-name", "node-1", "--stores-default", "training", "--stores-training-url",
            "s3://datasets/training", "--stores-training-region", "eu-central-1",
        ]
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        let path = root + "/Sources/Wiring/Agent/Configuration/kamld.example.yaml"
        let file = try FileDescriptor.open(ByteString(path), 0)
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        let example = try Self.read(flags: flags)
        #expect(text == example.rendered())
        #expect(try Self.read(text) == example)
    }

    @Test("tells what a reload changes and what needs a restart")
    func reload() throws {
        let old = try Self.read()
        let new = try Self.read("log: {level: debug}\ncache: {directory: /other, maximumBytes: 1GiB}\n")
        let changes = old.changes(to: new)
        #expect(changes.reloadable == ["log.level", "cache.maximumBytes"])
        #expect(changes.restart == ["cache.directory"])
        let reloaded = old.reloaded(from: new)
        #expect(reloaded.log.level == .debug && reloaded.cache.maximumBytes == 1 << 30)
        #expect(reloaded.cache.directory == old.cache.directory)
    }
}
