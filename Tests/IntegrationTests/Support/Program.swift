import Glibc
import Synchronization
import System

/// How a program ended: its exit status, or minus the signal that ended it.
struct Ended: Sendable, CustomStringConvertible {
    var status: Int32
    var output: [UInt8]
    var errors: String

    var text: String { String(decoding: output, as: UTF8.self) }
    var description: String { "status \(status)\n\(text.prefix(4000))\(errors.prefix(4000))" }
}

struct Trouble: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A process with its output in files. In a process group of its own, so that nothing of it outlives `kill`.
final class RunningProgram: Sendable {
    let process: pid_t
    private let words: [ByteString]
    let outputPath: ByteString
    private let errorsPath: ByteString
    private let status = Mutex<Int32?>(nil)
    private static let counter = Atomic<Int>(0)

    init(
        _ words: [ByteString], environment: [String: String], scratch: ByteString,
        input: ByteString = "/dev/null"
    ) throws {
        let number = Self.counter.add(1, ordering: .relaxed).newValue
        self.words = words
        outputPath = scratch.appending(ByteString("\(number).out"))
        errorsPath = scratch.appending(ByteString("\(number).err"))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        _ = input.withCString { posix_spawn_file_actions_addopen(&actions, 0, $0, O_RDONLY, 0) }
        for (descriptor, file) in [(STDOUT_FILENO, outputPath), (STDERR_FILENO, errorsPath)] {
            _ = file.withCString {
                posix_spawn_file_actions_addopen(
                    &actions, descriptor, $0, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
            }
        }
        // A thread made by libdispatch blocks all signals; a shell without SIGCHLD waits for ever.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETPGROUP))
        let arguments = words.map { word in word.withCString { strdup($0) } }
        let settings = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { for copy in arguments + settings { free(copy) } }
        guard let program = arguments.first, let program else { throw Trouble("nothing to run") }
        var child = pid_t()
        let result = posix_spawnp(&child, program, &actions, &attributes, arguments + [nil], settings + [nil])
        guard result == 0 else { throw Trouble("cannot run \(words): \(Errno(rawValue: result))") }
        process = child
    }

    /// The status once the program has ended; nil while it runs.
    func poll() -> Int32? {
        status.withLock { known in
            if known == nil {
                var raw: Int32 = 0
                if waitpid(process, &raw, WNOHANG) == process {
                    // The low seven bits tell a signal, the second byte the exit status.
                    known = raw & 0x7F == 0 ? raw >> 8 & 0xFF : -(raw & 0x7F)
                }
            }
            return known
        }
    }

    func kill(_ signal: Int32 = SIGKILL) {
        if poll() == nil { Glibc.kill(-process, signal) }
    }

    /// Waits for the end. A program that takes longer than `seconds` is killed, and that is an error.
    func wait(seconds: Int = 60) throws -> Ended {
        guard try until(seconds: seconds, { poll() != nil }) else {
            kill()
            _ = try until(seconds: 5) { poll() != nil }
            throw Trouble("took more than \(seconds) s: \(words)\n\(errors)")
        }
        return Ended(status: poll() ?? -1, output: try readWhole(outputPath), errors: errors)
    }

    var errors: String { String(decoding: (try? readWhole(errorsPath)) ?? [], as: UTF8.self) }
}

/// Waits until something holds; false when it does not within the time.
func until(seconds: Int, _ condition: () throws -> Bool) throws -> Bool {
    let clock = HostClock()
    let deadline = clock.monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    var pause: UInt32 = 200
    while try !condition() {
        if clock.monotonicNanoseconds() > deadline { return false }
        usleep(pause)
        pause = min(pause * 2, 10_000)
    }
    return true
}

func readWhole(_ path: ByteString) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY)
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = try piece.withUnsafeMutableBytes { try file.read(into: $0, at: UInt64(bytes.count)) }
        bytes += piece.prefix(count)
        if count < piece.count { return bytes }
    }
}

func writeWhole(_ path: ByteString, _ bytes: [UInt8], mode: UInt32 = 0o644) throws {
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    try bytes.withUnsafeBytes { try file.write($0, at: 0) }
}
