import FoundationEssentials
import Glibc
import KamlTestSupport
import Synchronization
import System

/// A helper process of Tests/Servers: it takes a line of JSON at a time and answers each with one. It ends, and what it
/// started with it, when its input closes: with this object, or with the test process however that ends.
final class Conversation: Sendable {
    /// Its first line.
    let greeting: JSON
    private let process: pid_t
    private let descriptor: Int32
    private let unread: Mutex<[UInt8]>

    /// Starts `python3 Tests/Servers/SCRIPT ...` and waits for its first line.
    init(_ script: String, _ arguments: [String], environment: [String: String] = [:], seconds: Int) throws {
        (process, descriptor) = try Self.start(
            ["python3", "\(Self.folder)/\(script)"] + arguments, environment: environment)
        var rest: [UInt8] = []
        greeting = try Self.line(descriptor, &rest, seconds: seconds, of: script)
        unread = Mutex(rest)
    }

    deinit {
        close(descriptor)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    /// Tells it something; an answer with an `error` is thrown.
    @discardableResult
    func tell(_ command: JSON) throws -> JSON {
        let bytes = Array(command.text.utf8) + [UInt8(ascii: "\n")]
        let sent = bytes.withUnsafeBytes {
            send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == bytes.count else { throw Trouble("a helper of the test is gone: \(Errno.last)") }
        let answer = try unread.withLock { try Self.line(descriptor, &$0, seconds: 60, of: command.text) }
        if let error = answer["error"]?.string { throw Trouble("\(command.text): \(error)") }
        return answer
    }

    /// Beside this file's folder, whatever the working directory is.
    private static let folder: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(3).joined(separator: "/") + "/Servers"
    }()

    private static func start(_ words: [String], environment: [String: String]) throws -> (pid_t, Int32) {
        var ends: [Int32] = [-1, -1]
        // A socket, not pipes: writing to one whose reader is gone raises no signal. No other child inherits it.
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno.last }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var variables = environment
        for name in ["PATH", "HOME", "TMPDIR"] where variables[name] == nil {
            if let value = getenv(name) { variables[name] = String(cString: value) }
        }
        let arguments = words.map { strdup($0) }
        let settings = variables.map { strdup("\($0.key)=\($0.value)") }
        defer { for copy in arguments + settings { free(copy) } }
        var child = pid_t()
        let result = posix_spawnp(
            &child, words[0], &actions, &attributes, arguments + [nil], settings + [nil])
        guard result == 0 else {
            close(ends[0])
            throw Trouble("cannot run \(words): \(Errno(rawValue: result))")
        }
        return (child, ends[0])
    }

    private static func line(
        _ descriptor: Int32, _ unread: inout [UInt8], seconds: Int, of what: String
    ) throws -> JSON {
        let deadline = HostClock().monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                defer { unread.removeSubrange(...end) }
                return try JSONDecoder().decode(JSON.self, from: Data(unread[..<end]))
            }
            let now = HostClock().monotonicNanoseconds()
            guard now < deadline else { throw Trouble("no answer within \(seconds) s: \(what)") }
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            poll(&ready, 1, Int32((deadline - now) / 1_000_000) + 1)
            guard ready.revents != 0 else { continue }
            var piece = [UInt8](repeating: 0, count: 65536)
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count > 0 else { throw Trouble("it ended without an answer (see above): \(what)") }
            unread += piece.prefix(count)
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByBooleanLiteral
{
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .number(Double(value)) }
    init(floatLiteral value: Double) { self = .number(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }
    init(arrayLiteral elements: JSON...) { self = .list(elements) }
    init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(Dictionary(elements) { $1 })
    }

    /// As JSON on one line.
    var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let value): Double(Int(value)) == value ? "\(Int(value))" : "\(value)"
        case .string(let value): Self.quoted(value)
        case .list(let values): "[" + values.map(\.text).joined(separator: ",") + "]"
        case .object(let fields):
            "{" + fields.map { Self.quoted($0.key) + ":" + $0.value.text }.joined(separator: ",") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
