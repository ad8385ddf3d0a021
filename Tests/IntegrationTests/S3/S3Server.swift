import Glibc
import KamlTestSupport
import System

/// A real S3 server on loopback, started for this test process.
final class S3Server: Sendable {
    enum Kind: String, CaseIterable { case rgw, swift, moto }

    let kind: Kind
    let endpoint: String
    let bucket: String
    /// Keeps old versions of its objects.
    let versionedBucket: String
    let keys: [String: String]
    private let conversation: Conversation

    /// Starts on first use and is there until the process ends. A server that does not start fails every test of it.
    static func shared(_ kind: Kind) throws -> S3Server {
        switch kind {
        case .rgw: try rgw.get()
        case .swift: try swift.get()
        case .moto: try moto.get()
        }
    }

    private static let rgw = Result { try S3Server(.rgw) }
    private static let swift = Result { try S3Server(.swift) }
    private static let moto = Result { try S3Server(.moto) }

    private init(_ kind: Kind) throws {
        self.kind = kind
        let conversation = try Conversation("serve.py", [kind.rawValue], seconds: 120)
        self.conversation = conversation
        func detail(_ name: String) throws -> String {
            guard let text = conversation.greeting[name]?.string else { throw Trouble("no \(name)") }
            return text
        }
        endpoint = try detail("endpoint")
        bucket = try detail("bucket")
        versionedBucket = try detail("versionedBucket")
        keys = [
            "AWS_ACCESS_KEY_ID": try detail("accessKey"), "AWS_SECRET_ACCESS_KEY": try detail("secretKey"),
            "AWS_REGION": try detail("region"),
        ]
    }

    subscript(_ detail: String) -> String {
        get throws {
            guard let text = conversation.greeting[detail]?.string else {
                throw Trouble("\(kind) has no \(detail)")
            }
            return text
        }
    }

    /// Variables with which a program reaches the server, perhaps through something that stands before it.
    func environment(_ endpoint: String? = nil) -> [String: String] {
        keys.merging(["KAML_S3_ENDPOINT": endpoint ?? self.endpoint]) { $1 }
    }

    /// A part of the bucket that nobody else uses.
    func newPrefix() -> String {
        "p" + HostRandom().bytes(8).map { String($0, radix: 16) }.joined(separator: "x")
    }

    /// Stores an object behind the back of `kaml`; gives its ETag.
    @discardableResult
    func put(_ key: ByteString, _ text: String, in bucket: String? = nil) throws -> String {
        let put: JSON = [
            "keyHex": .string(key.hex), "text": .string(text), "bucket": .string(bucket ?? self.bucket),
        ]
        return try conversation.tell(["put": put])["etag"]?.string ?? ""
    }

    /// Stores an object of random bytes.
    func put(_ key: ByteString, size: Int, seed: Int, in bucket: String? = nil) throws {
        let put: JSON = [
            "keyHex": .string(key.hex), "size": .number(Double(size)), "seed": .number(Double(seed)),
            "bucket": .string(bucket ?? self.bucket),
        ]
        try conversation.tell(["put": put])
    }

    func delete(_ key: ByteString, in bucket: String? = nil) throws {
        try conversation.tell([
            "delete": ["keyHex": .string(key.hex), "bucket": .string(bucket ?? self.bucket)]
        ])
    }
}

extension ByteString {
    fileprivate var hex: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// Stands between `kaml` and a server, and damages answers.
final class FaultProxy: Sendable {
    let endpoint: String
    let server: S3Server
    private let conversation: Conversation

    init(_ server: S3Server) throws {
        self.server = server
        conversation = try Conversation(
            "faultproxy.py", ["--upstream", server.endpoint], environment: server.keys, seconds: 20)
        guard let endpoint = conversation.greeting["endpoint"]?.string else { throw Trouble("no endpoint") }
        self.endpoint = endpoint
    }

    var environment: [String: String] { server.environment(endpoint) }

    /// From now on answers to requests whose method and target match are damaged: `count` of them, or all.
    func damage(_ fault: String, _ match: String, count: Int? = nil, argument: JSON = .null) throws {
        try conversation.tell([
            "rules": [
                [
                    "fault": .string(fault), "match": .string(match), "argument": argument,
                    "count": count.map { .number(Double($0)) } ?? .null,
                ]
            ]
        ])
    }

    func heal() throws { try conversation.tell(["rules": []]) }

    enum Absence: String { case refuse, hang }
    func goDown(_ how: Absence) throws { try conversation.tell(["down": .string(how.rawValue)]) }
    func comeUp() throws { try conversation.tell(["up": true]) }

    /// What was counted since the last time: requests by method, `LIST`, `bytes`, `fault NAME`.
    func takeCounters() throws -> [String: Int] {
        guard case .object(let fields) = try conversation.tell(["reset": true]) else { return [:] }
        return fields.mapValues { Int($0.number ?? 0) }
    }
}
