import FuseSession
import Glibc
import ObjectStore
package import System

/// Everything about an agent that its operator chooses. `Setting.all` has the keys, their forms and what they mean.
package struct AgentConfiguration: Hashable, Sendable {
    package struct Log: Hashable, Sendable {
        package enum Level: String, CaseIterable, Sendable {
            case trace, debug, info, notice, warning, error, critical
        }
        package enum Format: String, CaseIterable, Sendable { case auto, json, text, journald }

        package var level = Level.info
        package var format = Format.auto
    }

    package struct Admin: Hashable, Sendable {
        package var socket: ByteString
        /// A user's name or number; nil for the agent's own.
        package var owner: String?
    }

    package struct Cache: Hashable, Sendable {
        package var directory: ByteString
        /// 0: no limit but the disk's.
        package var maximumBytes: UInt64 = 0
        package var maximumInodes: UInt64 = 0
        package var minimumFreeBytes: UInt64 = 1 << 30
        /// Bytes a second that are hashed again in the background; 0 for none.
        package var scrubBytesPerSecond: UInt64 = 8 << 20
        package var fetchThreads = 32
        package var fetchMemory: UInt64 = 64 << 20
        /// Where the keys come from that it is encrypted with; in the clear when there is none.
        package var keys = CacheKeySource()
    }

    package struct Mounts: Hashable, Sendable {
        package var maximum = 1000
        package var threads = FuseSession.defaultWorkers
        package var readAheadKiB = 4096
        package var allowOther: Bool
    }

    package struct Feed: Hashable, Sendable {
        package var isEnabled = true
        /// Nil for one beside the admin socket: `feed/feed.sock`.
        package var socket: ByteString?
        package var access = FeedAccess()
        package var maximumSessions = 256
        package var maximumSessionsOfUser = 64
        /// Bytes of shared memory: of one session, and of all.
        package var sessionMemory: UInt64 = 512 << 20
        package var memory: UInt64 = 4 << 30
    }

    package struct Tracing: Hashable, Sendable {
        package enum Carrier: String, CaseIterable, Sendable { case http, grpc }

        package var endpoint: String?
        package var carrier = Carrier.http
        package var sampleRatio = 0.01
        package var slowMilliseconds = 1000
        /// A file with `name: value` lines; a secret.
        package var headersFile: ByteString?
    }

    /// The node's name, for people and for labels.
    package var node: String
    package var log = Log()
    package var admin: Admin
    package var http = HTTPPlace.address(host: "127.0.0.1", port: 9477)
    package var cache: Cache
    package var mounts: Mounts
    /// The socket of kamld-holder; nil keeps mounts in this process, with which they end.
    package var holderSocket: ByteString?
    package var feed = Feed()
    package var tracing = Tracing()
    /// How long what runs may take to end when the agent is asked to.
    package var graceSeconds = 10
    /// The store that is meant when none is named.
    package var defaultStore: String?
    package var stores: [String: NamedStore] = [:]
}

/// Where the HTTP endpoint listens.
package enum HTTPPlace: Hashable, Sendable {
    case off
    case address(host: String, port: Int)
    case socket(ByteString)
}

/// A store of the configuration.
package struct NamedStore: Hashable, Sendable {
    package var url: String = ""
    package var endpoint: String?
    package var region: String?
    package var style: String?
    package var profile: String?
    /// An AWS credentials file for this store alone; a secret.
    package var credentialsFile: ByteString?
    package var caFile: ByteString?
    package var patienceSeconds = 30
}

/// What the defaults depend on.
package struct HostSurroundings: Sendable {
    package var isRoot: Bool
    package var hostName: String
    package var variables: [String: String]

    package init(isRoot: Bool, hostName: String, variables: [String: String]) {
        self.isRoot = isRoot
        self.hostName = hostName
        self.variables = variables
    }

    /// This process's.
    package static var current: HostSurroundings {
        var name = [CChar](repeating: 0, count: 256)
        _ = unsafe gethostname(&name, name.count - 1)
        var variables: [String: String] = [:]
        var entry = unsafe environ
        while let variable = unsafe entry.pointee {
            let text = unsafe String(cString: variable)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            unsafe entry += 1
        }
        return HostSurroundings(
            isRoot: geteuid() == 0,
            hostName: String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            variables: variables)
    }

    func directory(_ variable: String) -> ByteString? {
        variables[variable].flatMap { $0.hasPrefix("/") ? ByteString($0) : nil }
    }
}

extension AgentConfiguration {
    /// Where pods connect: in a directory of its own, which is what they get mounted.
    package var feedSocket: ByteString {
        if let socket = feed.socket { return socket }
        let slash = admin.socket.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
        return ByteString(Array(admin.socket.bytes[..<slash])).appending("feed/feed.sock")
    }

    /// What counts where neither file nor environment nor flags say anything.
    package init(defaultsFor host: HostSurroundings) {
        let home = host.directory("HOME") ?? "/tmp"
        let own = (host.directory("XDG_CACHE_HOME") ?? home.appending(".cache")).appending("kaml")
        // What a systemd unit's CacheDirectory= gives goes before both (systemd.exec(5)).
        let cache = host.directory("CACHE_DIRECTORY") ?? (host.isRoot ? "/var/cache/kaml" : own)
        node = host.variables["NODE_NAME"].flatMap { $0.isEmpty ? nil : $0 } ?? host.hostName
        admin = Admin(socket: Self.defaultSocket(host))
        self.cache = Cache(directory: cache)
        mounts = Mounts(allowOther: host.isRoot)
    }

    /// Where clients look for the agent.
    package static func defaultSocket(_ host: HostSurroundings) -> ByteString {
        if host.isRoot { return "/run/kaml/agent.sock" }
        let home = host.directory("HOME") ?? "/tmp"
        return (host.directory("XDG_RUNTIME_DIR") ?? home.appending(".cache")).appending("kaml/agent.sock")
    }
}
