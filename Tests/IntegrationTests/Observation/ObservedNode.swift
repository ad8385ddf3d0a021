import FoundationEssentials
import Glibc
import System
import Testing

/// An agent with its HTTP endpoint on a free port, and what looks at it from outside.
extension LabNode {
    /// As for `startAgent`, without a mount holder.
    func startObserved(_ options: [ByteString] = [], wrapper: [ByteString] = []) throws {
        try startAgent(
            ["--http-listen", "127.0.0.1:0", "--log-format", "json"] + options, wrapper: wrapper,
            holding: false)
    }

    /// Where the endpoint listens, as host:port.
    var endpoint: String {
        get throws {
            let mark = "metrics and health on http://"
            try waitForLog(mark)
            let rest = log.components(after: mark)
            return String(rest.prefix { $0.isNumber || $0 == "." || $0 == ":" })
        }
    }

    func get(_ path: String, accept: String = "text/plain") throws -> String {
        let ended = try lab.run([
            "curl", "-s", "--max-time", "20", "-H", ByteString("accept: \(accept)"),
            ByteString("http://\(try endpoint)\(path)"),
        ])
        guard ended.status == 0 else { throw Trouble("no \(path): \(ended)\n\(log)") }
        return ended.text
    }

    /// A sample of the agent's metrics, by its name with its labels; nil where it is not shown.
    func sample(_ name: String) throws -> Double? {
        let line = try get("/metrics").split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line.flatMap { Double($0.dropFirst(name.utf8.count + 1)) }
    }

    /// The log, line by line; a line that is no JSON object is an error.
    func logLines() throws -> [[String: JSON]] {
        try log.split(separator: "\n").map { line in
            guard case .object(let fields) = try JSONDecoder().decode(JSON.self, from: Data(line.utf8)) else {
                throw Trouble("no JSON object: \(line)")
            }
            return fields
        }
    }

    /// Ends the agent in order; how long it took, in seconds.
    @discardableResult
    func endAgent(sourceLocation: SourceLocation = #_sourceLocation) throws -> Double {
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let program = try agent
        program.kill(SIGTERM)
        let ended = try program.wait(seconds: 30)
        #expect(ended.status == 0, "\(ended)", sourceLocation: sourceLocation)
        return Double(clock.monotonicNanoseconds() - start) / 1e9
    }
}

extension String {
    /// What follows the last `mark`; empty without one.
    fileprivate func components(after mark: String) -> Substring {
        var rest = self[...]
        var found = Substring()
        while let range = rest.firstRange(of: mark) {
            rest = rest[range.upperBound...]
            found = rest
        }
        return found
    }
}

/// A span as the collector of the tests understood it.
struct SeenSpan {
    var name: String
    var trace: String
    var id: String
    var parent: String
    var attributes: JSON
    var resource: JSON
    var hasFailed: Bool

    init?(_ json: JSON) {
        guard let name = json["name"]?.string, let trace = json["trace_id"]?.string,
            let id = json["span_id"]?.string
        else { return nil }
        self.name = name
        self.trace = Self.hex(trace)
        self.id = Self.hex(id)
        parent = Self.hex(json["parent_span_id"]?.string ?? "")
        attributes = json["attributes"] ?? .null
        resource = json["resource"] ?? .null
        hasFailed = json["status"]?["code"]?.string?.contains("ERROR") == true
    }

    /// Ids come in base64.
    private static func hex(_ text: String) -> String {
        (Data(base64Encoded: text) ?? Data()).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// A third-party OTLP receiver.
final class TraceCollector: Sendable {
    private let conversation: Conversation

    init() throws { conversation = try Conversation("observers.py", ["collector"], seconds: 180) }

    func endpoint(_ carrier: String) -> ByteString {
        ByteString("http://127.0.0.1:\(Int(conversation.greeting[carrier]?.number ?? 0))")
    }

    func spans() throws -> [SeenSpan] { try conversation.tell("read").list.compactMap(SeenSpan.init) }
}
