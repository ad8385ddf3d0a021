import ObjectStore
import Observability
import System

/// One key: what it is called in the file, in the environment and as a flag, and what it sets.
struct Setting<Root>: Sendable {
    /// The words on the way to the key in the file.
    let path: [String]
    let form: String
    let help: String
    /// Takes effect on SIGHUP.
    let isReloadable: Bool
    let set: @Sendable (String, inout Root) throws(ValueError) -> Void
    let text: @Sendable (Root) -> String

    init<Value: Sendable>(
        _ path: String, _ field: any WritableKeyPath<Root, Value> & Sendable, _ form: ValueForm<Value>,
        reloadable: Bool = false, _ help: String
    ) {
        self.path = path.split(separator: ".").map(String.init)
        self.form = form.name
        self.help = help
        isReloadable = reloadable
        set = { text, root throws(ValueError) in root[keyPath: field] = try form.parse(text) }
        self.text = { form.text($0[keyPath: field]) }
    }

    var key: String { path.joined(separator: ".") }
    /// `KAML_CACHE_MAXIMUM_BYTES`.
    var variable: String { "KAML_" + path.map { Self.words($0, "_").uppercased() }.joined(separator: "_") }
    /// `--cache-maximum-bytes`.
    var flag: String { "--" + path.map { Self.words($0, "-") }.joined(separator: "-") }

    /// `readAheadKiB` as `read-ahead-kib`: a word begins where a capital follows a small letter.
    static func words(_ name: String, _ separator: String) -> String {
        var text = ""
        var wasSmall = false
        for character in name {
            if character.isUppercase && wasSmall { text += separator }
            wasSmall = character.isLowercase || character.isNumber
            text += character.lowercased()
        }
        // A unit is one word, however it is written.
        return text.replacingSuffix("ki\(separator)b", "kib")
    }
}

extension String {
    fileprivate func replacingSuffix(_ suffix: String, _ other: String) -> String {
        hasSuffix(suffix) ? dropLast(suffix.count) + other : self
    }
}

extension Setting<AgentConfiguration> {
    /// All but the stores, in the order of the example.
    static let all: [Setting<AgentConfiguration>] = [
        Setting(
            "node.name", \.node, .text,
            "The node's name in metrics, traces and logs. Else NODE_NAME, or the host's."),
        Setting("log.level", \.log.level, .word, reloadable: true, "What is logged."),
        Setting(
            "log.format", \.log.format, .word,
            "auto: journald under systemd, text on a terminal, else JSON lines."),
        Setting(
            "admin.socket", \.admin.socket, .path, "Where kaml finds the agent: a Unix socket, mode 0600."),
        Setting(
            "admin.owner", \.admin.owner, .optional(.text),
            "The user who may use the socket, beside root; the agent's own if empty."),
        Setting(
            "http.listen", \.http, .httpPlace,
            "/metrics, /healthz and /readyz: host:port, unix:/path, or off."),
        Setting("cache.directory", \.cache.directory, .path, "Where fetched data is kept: a local disk."),
        Setting(
            "cache.maximumBytes", \.cache.maximumBytes, .bytes, reloadable: true,
            "Real blocks that the cache may take; 0 for no limit but minimumFreeBytes."),
        Setting(
            "cache.maximumInodes", \.cache.maximumInodes, .number(0...1 << 40), reloadable: true,
            "Files that the cache may have; 0 for no limit."),
        Setting(
            "cache.minimumFreeBytes", \.cache.minimumFreeBytes, .bytes, reloadable: true,
            "What stays free on the cache's disk."),
        Setting(
            "cache.scrubBytesPerSecond", \.cache.scrubBytesPerSecond, .bytes, reloadable: true,
            "What is hashed again in the background, each second; 0 for nothing."),
        Setting(
            "cache.fetchThreads", \.cache.fetchThreads, .count(1...512), "Threads that fetch from stores."),
        Setting(
            "cache.fetchMemory", \.cache.fetchMemory, .bytes, "What fetches may hold in memory together."),
        // libfuse takes one of the process's 1024 thread-specific keys (PTHREAD_KEYS_MAX) for each.
        Setting("mounts.maximum", \.mounts.maximum, .count(1...1000), "Mounts that may be there at once."),
        Setting(
            "mounts.threads", \.mounts.threads, .count(1...256),
            "Threads that serve the kernel, for each mount."),
        Setting(
            "mounts.readAheadKiB", \.mounts.readAheadKiB, .count(0...1 << 20),
            "How far the kernel reads ahead, unless a mount says otherwise."),
        Setting(
            "mounts.allowOther", \.mounts.allowOther, .flag,
            "Whether users other than the agent's may read mounts, unless a mount says otherwise."),
        Setting(
            "holder.socket", \.holderSocket, .optionalPath,
            "kamld-holder's socket, so that mounts outlive the agent; empty keeps them in the agent."),
        Setting(
            "feed.enabled", \.feed.isEnabled, .flag, "Whether pods get batches of records over shared memory."
        ),
        Setting(
            "feed.socket", \.feed.socket, .optionalPath,
            "Where pods connect, in a directory for it alone; if empty feed/feed.sock beside admin.socket."),
        Setting(
            "feed.access", \.feed.access, .access,
            "Who may feed from which datasets, such as \"user:1000=imagenet,coco-*; group:2000=*; *=public-*\". If empty, everybody who reaches the socket may read what is in the stores below."
        ),
        Setting(
            "feed.maximumSessions", \.feed.maximumSessions, .count(1...10_000),
            "Pods that may be connected at once."),
        Setting(
            "feed.maximumSessionsOfUser", \.feed.maximumSessionsOfUser, .count(1...10_000),
            "Of them, those of one user."),
        Setting(
            "feed.sessionMemory", \.feed.sessionMemory, .bytes,
            "Shared memory that a pod's batches may lie in, beside what is lent of the cache."),
        Setting("feed.memory", \.feed.memory, .bytes, "The same for all pods together."),
        Setting(
            "tracing.endpoint", \.tracing.endpoint, .optional(.collector),
            "An OTLP collector, such as http://127.0.0.1:4318. If empty, OpenTelemetry's OTEL_* variables count; off without."
        ),
        Setting(
            "tracing.protocol", \.tracing.carrier, .word,
            "How the collector is spoken to: http (protobuf, port 4318 as a rule) or grpc (4317)."),
        Setting(
            "tracing.sampleRatio", \.tracing.sampleRatio, .ratio(0...1), reloadable: true,
            "The share of reads that is traced; slow and failed ones always are."),
        Setting(
            "tracing.slowMilliseconds", \.tracing.slowMilliseconds, .count(1...3_600_000), reloadable: true,
            "From which duration on a read is slow."),
        Setting(
            "tracing.headersFile", \.tracing.headersFile, .optionalPath,
            "A file with headers for the collector, one \"name: value\" a line; for its owner only."),
        Setting(
            "shutdown.graceSeconds", \.graceSeconds, .count(1...3600),
            "How long what runs may take to end when the agent is asked to."),
        Setting(
            "stores.default", \.defaultStore, .optional(.text),
            "The store that is meant when none is named; the only one if there is one."),
    ]
}

extension Setting<NamedStore> {
    /// Below `stores.NAME`.
    static let all: [Setting<NamedStore>] = [
        Setting("url", \.url, .storeURL, "file:///path or s3://bucket/prefix."),
        Setting("endpoint", \.endpoint, .optional(.url), "The S3 server; AWS if empty."),
        Setting("region", \.region, .optional(.text), "The bucket's region."),
        Setting("style", \.style, .s3Style, "How requests name the bucket: path or virtual."),
        Setting("profile", \.profile, .optional(.text), "The profile that credentials are taken from."),
        Setting(
            "credentialsFile", \.credentialsFile, .optionalPath,
            "An AWS credentials file for this store; for its owner only."),
        Setting("caFile", \.caFile, .optionalPath, "Certificates to trust instead of the system's, in PEM."),
        Setting(
            "patienceSeconds", \.patienceSeconds, .count(1...3600),
            "How long a request waits for a store that is away."),
    ]
}

extension ValueForm where Value == String {
    static let storeURL = ValueForm(
        name: "url",
        parse: { text throws(ValueError) in
            do throws(ObjectStoreURLError) { _ = try ObjectStoreURL(text, workingDirectory: "/") } catch {
                throw ValueError("this names no store: \(error.reason)")
            }
            guard text.hasPrefix("/") || text.contains("://") else {
                throw ValueError("a store's path is absolute here")
            }
            return text
        }, text: { $0 })
}

extension ValueForm where Value == String {
    static let collector = ValueForm(
        name: "url",
        parse: { text throws(ValueError) in
            guard ExportSettings.isEndpoint(text) else {
                throw ValueError("http://HOST:PORT or https://HOST:PORT, without a user and a query")
            }
            return text
        }, text: { $0 })
}

extension ValueForm where Value == String? {
    static let s3Style = ValueForm(
        name: "path or virtual",
        parse: { text throws(ValueError) in
            switch text {
            case "": return nil
            case "path", "virtual": return text
            default: throw ValueError("path or virtual")
            }
        }, text: { $0 ?? "" })
}

extension ValueForm where Value == FeedAccess {
    static let access = ValueForm(
        name: "rules",
        parse: { text throws(ValueError) in
            guard let access = FeedAccess(text) else {
                throw ValueError(
                    "rules such as user:1000=imagenet,coco-*; group:2000=*; *=public-*, separated by semicolons"
                )
            }
            return access
        }, text: \.text)
}

extension ValueForm where Value == HTTPPlace {
    static let httpPlace = ValueForm(
        name: "host:port, unix:/path or off",
        parse: { text throws(ValueError) in
            if text == "off" { return .off }
            if text.hasPrefix("unix:") {
                return .socket(try ValueForm<ByteString>.path.parse(String(text.dropFirst(5))))
            }
            guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
                (0...65535).contains(port)
            else { throw ValueError("host:port as in 127.0.0.1:9477, unix:/path, or off") }
            var host = String(text[..<colon])
            if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
            guard !host.isEmpty, host.utf8.count < 256 else {
                throw ValueError("a host stands before the port")
            }
            return .address(host: host, port: port)
        },
        text: { place in
            switch place {
            case .off: "off"
            case .address(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .socket(let path): "unix:\(path)"
            }
        })
}
