import FoundationEssentials
import Glibc
import KamlTestSupport
import System

/// What a finished `kaml` left behind.
struct CommandResult {
    var status: Int32
    var output: [UInt8]
    var errors: String

    var text: String { String(decoding: output, as: UTF8.self) }
}

/// A value of `-o json`.
enum JSON: Decodable, Equatable {
    case null, bool(Bool), number(Double), string(String), list([JSON]), object([String: JSON])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let list = try? value.decode([JSON].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSON].self))
        }
    }

    subscript(key: String) -> JSON? {
        if case .object(let fields) = self { fields[key] } else { nil }
    }
    var string: String? { if case .string(let value) = self { value } else { nil } }
    var number: Double? { if case .number(let value) = self { value } else { nil } }
    var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    var list: [JSON] { if case .list(let values) = self { values } else { [] } }
}

/// A directory with a store in it, and the `kaml` that works on it.
final class Workplace: Sendable {
    let directory: TemporaryDirectory
    let store: ByteString
    private let binary: ByteString

    struct NoBinary: Error {}

    init() throws {
        directory = try TemporaryDirectory()
        store = directory.path.appending("store")
        binary = try Self.binary()
    }

    /// With a store and a dataset `data` of two commits: `first`, then `second` with a change of each kind.
    convenience init(committed: Bool) throws {
        self.init(try Workplace())
        guard committed else { return }
        try makeTree()
        try succeed("store", "init")
        try succeed("commit", "data", "src", "-m", "first")
        try write("src/changed.txt", Array(repeating: "changed line\n", count: 50).joined())
        try HostFileSystem().unlink(path("src/gone.txt"))
        try write("src/new.txt", "new\n")
        try succeed("commit", "data", "src", "-m", "second", "--meta", "ticket=7")
    }

    private init(_ other: Workplace) {
        directory = other.directory
        store = other.store
        binary = other.binary
    }

    private static func binary() throws -> ByteString {
        if let named = getenv("KAML_BIN") { return ByteString(String(cString: named)) }
        let runner = try readSymlink("/proc/self/exe")
        let end = runner.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
        let beside = ByteString(Array(runner.bytes[..<end])).appending("kaml")
        guard (try? HostFileSystem().status(of: beside)) != nil else { throw NoBinary() }
        return beside
    }

    private static func readSymlink(_ path: ByteString) throws -> ByteString {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = path.withCString { readlink($0, &buffer, buffer.count) }
        guard count > 0 else { throw Errno.last }
        return ByteString(buffer[..<count].map { UInt8(bitPattern: $0) })
    }

    // MARK: - Running

    @discardableResult
    func run(_ arguments: String..., environment: [String: String] = [:]) throws -> CommandResult {
        try run(arguments.map { ByteString($0) }, environment: environment)
    }

    /// Runs and fails the test when that does not succeed.
    @discardableResult
    func succeed(_ arguments: String...) throws -> CommandResult {
        let result = try run(arguments.map { ByteString($0) })
        guard result.status == 0 else { throw Unexpected(arguments: arguments, result: result) }
        return result
    }

    /// The answer with `-o json`, of a command that may fail.
    func json(_ arguments: String...) throws -> JSON {
        let result = try run(arguments.map { ByteString($0) } + ["-o", "json"])
        let bytes = result.output.isEmpty ? Array(result.errors.utf8) : result.output
        return try JSONDecoder().decode(JSON.self, from: Data(bytes))
    }

    struct Unexpected: Error, CustomStringConvertible {
        var arguments: [String]
        var result: CommandResult
        var description: String {
            "kaml \(arguments.joined(separator: " ")): exit \(result.status): \(result.errors)"
        }
    }

    func run(_ arguments: [ByteString], environment: [String: String] = [:]) throws -> CommandResult {
        try run(program: binary, arguments, environment: environment)
    }

    func run(
        program: ByteString, _ arguments: [ByteString], environment: [String: String] = [:]
    ) throws -> CommandResult {
        let number = HostRandom().bytes(6).map { String($0, radix: 16) }.joined()
        let (output, errors) = (path(".out-\(number)"), path(".err-\(number)"))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, file) in [(STDOUT_FILENO, output), (STDERR_FILENO, errors)] {
            _ = file.withCString {
                posix_spawn_file_actions_addopen(&actions, descriptor, $0, O_WRONLY | O_CREAT, 0o600)
            }
        }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        var variables = environment
        variables["KAML_STORE"] = environment["KAML_STORE"] ?? "file://\(store)"
        variables["XDG_CACHE_HOME"] = "\(directory.path)/xdg"
        variables["HOME"] = "\(directory.path)"
        variables["PATH"] = "/usr/bin:/bin"
        variables["TZ"] = "UTC"
        // env(1) changes the directory: the spawn action for that is not in Swift's Glibc module.
        let words = (["env", "-C", directory.path, program] + arguments).map { word in
            word.withCString { strdup($0) }
        }
        let settings = variables.map { strdup("\($0.key)=\($0.value)") }
        defer { for copy in words + settings { free(copy) } }
        var process = pid_t()
        let started = posix_spawn(&process, "/usr/bin/env", &actions, nil, words + [nil], settings + [nil])
        guard started == 0 else { throw Errno(rawValue: started) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        defer {
            for file in [output, errors] { try? HostFileSystem().unlink(file) }
        }
        // The low seven bits tell a signal, the second byte the exit status.
        let code = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
        return CommandResult(
            status: code, output: try read(output), errors: String(decoding: try read(errors), as: UTF8.self))
    }

    // MARK: - Files

    func path(_ relative: String) -> ByteString { directory.path.appending(ByteString(relative)) }

    func write(_ relative: String, _ text: String) throws { try write(path(relative), Array(text.utf8)) }

    func write(_ path: ByteString, _ bytes: [UInt8], mode: UInt32 = 0o644) throws {
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }

    func read(_ path: ByteString) throws -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY)
        let size = Int(try file.status().size)
        var bytes = [UInt8](repeating: 0, count: size)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return Array(bytes[..<count])
    }

    /// Keys of the store's objects under a prefix such as `packs`, with their paths.
    func objects(_ folder: String) throws -> [ByteString] {
        var found: [ByteString] = []
        func walk(_ directory: ByteString) throws {
            for entry in try HostFileSystem().list(directory) {
                let path = directory.appending(entry.name)
                if try HostFileSystem().status(of: path).kind == .directory {
                    try walk(path)
                } else {
                    found.append(path)
                }
            }
        }
        try walk(store.appending(ByteString(folder)))
        return found.sorted()
    }

    /// A small tree with what file systems allow: odd names, links, modes, holes, attributes are left to others.
    func makeTree() throws {
        let files = HostFileSystem()
        try files.makeDirectories(path("src/sub/deep"))
        try write("src/changed.txt", "one line\n")
        try write("src/gone.txt", "going\n")
        try write("src/empty", "")
        try write("src/sub/deep/file", String(repeating: "deep ", count: 2_000))
        try write(path("src").appending(ByteString([0x62, 0xFF, 0xFE])), Array("odd name".utf8))
        try write("src/caf\u{E9}", "composed")
        try write("src/cafe\u{301}", "decomposed")
        try write("src/line\nbreak\\", "controls")
        let random = SeededRandom(seed: 7)
        try write(path("src/large.bin"), random.bytes(3 << 20))
        try files.link(path("src/large.bin"), path("src/sub/hardlink"))
        symlink("/etc/passwd", "\(path("src/absolute"))")
        symlink("changed.txt", "\(path("src/relative"))")
        chmod("\(path("src/changed.txt"))", 0o4750)
        chmod("\(path("src/sub"))", 0o750)
        let sparse = try FileDescriptor.open(path("src/holes"), O_WRONLY | O_CREAT, mode: 0o600)
        try Array("begin".utf8).withUnsafeBytes { try sparse.write($0, at: 0) }
        try Array("end".utf8).withUnsafeBytes { try sparse.write($0, at: 20 << 20) }
    }
}
