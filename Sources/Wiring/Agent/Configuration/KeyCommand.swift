import Glibc
import NodeCache
import System

/// A program that writes a key to its standard output: the way to a key management service. It runs without arguments and with
/// a PATH alone for its environment; what it says on standard error goes where the agent's own does.
struct KeyCommand {
    /// Bytes of output that are read; more is no key.
    static let largestOutput = 4096
    /// Seconds until the program is killed.
    static let patience: UInt64 = 30

    private let path: ByteString
    private let patience: UInt64

    init(_ path: ByteString, patience: UInt64 = Self.patience) {
        self.path = path
        self.patience = patience
    }

    /// What it wrote.
    ///
    /// - Throws: `CacheError.unusable` when others could change the program, when it fails, and when it takes too long.
    func run() throws(CacheError) -> [UInt8] {
        if let problem { throw failure(problem) }
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw failure("cannot be run", .last) }
        let reading = FileDescriptor(owning: ends[0])
        let child: pid_t
        do {
            let writing = FileDescriptor(owning: ends[1])
            child = try spawn(writing.rawValue)
        }
        let end = HostClock().monotonicNanoseconds() + patience * 1_000_000_000
        let output = read(reading.rawValue, until: end)
        let status = try wait(for: child, until: output == nil ? 0 : end)
        guard let output, let status else {
            throw failure("wrote more than \(Self.largestOutput) bytes, or took longer than \(patience) s")
        }
        guard status == 0 else { throw failure("failed: wait status \(status)") }
        return output
    }

    /// Why it is not to be run; nil when it may.
    private var problem: String? {
        let status: FileStatus
        do throws(Errno) {
            status = try HostFileSystem().status(of: try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK))
        } catch { return "cannot be opened: \(error)" }
        guard status.kind == .regular, status.mode & 0o111 != 0 else { return "is no program" }
        guard status.userID == 0 || status.userID == geteuid(), status.mode & 0o022 == 0 else {
            return "could be changed by others; give it to root, with mode 0755 or less"
        }
        return nil
    }

    /// Until the end of the output; nil when there is too much of it, or when it does not end in time.
    private func read(_ descriptor: Int32, until end: UInt64) -> [UInt8]? {
        let clock = HostClock()
        var output: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: Self.largestOutput)
        while true {
            let now = clock.monotonicNanoseconds()
            guard now < end else { return nil }
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe Glibc.poll(&poll, 1, Int32(clamping: (end - now) / 1_000_000 + 1))
            if ready < 0, Errno.last == .interrupted { continue }
            guard ready > 0 else { return nil }
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            if count < 0, Errno.last == .interrupted { continue }
            if count < 0 { return nil }
            if count == 0 { return output }
            output += piece.prefix(count)
            if output.count > Self.largestOutput { return nil }
        }
    }

    /// How it ended; nil when it had to be killed.
    private func wait(for child: pid_t, until end: UInt64) throws(CacheError) -> Int32? {
        let pauseMicroseconds: UInt32 = 2000
        var status: Int32 = 0
        var isKilled = false
        while true {
            let ended = unsafe waitpid(child, &status, isKilled ? 0 : WNOHANG)
            if ended == child { return isKilled ? nil : status }
            if ended < 0, Errno.last != .interrupted { throw failure("cannot be waited for", .last) }
            if !isKilled, HostClock().monotonicNanoseconds() >= end {
                kill(-child, SIGKILL)
                isKilled = true
            } else if !isKilled {
                usleep(pauseMicroseconds)
            }
        }
    }

    private func spawn(_ standardOutput: Int32) throws(CacheError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, standardOutput, 1)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // It must not inherit the signals that this thread blocks; a group of its own can be killed whole.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
        var argv = unsafe [path.withCString { unsafe strdup($0) }, nil]
        var envp = unsafe [strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), nil]
        defer {
            unsafe free(argv[0])
            unsafe free(envp[0])
        }
        var child = pid_t()
        let status = unsafe path.withCString {
            unsafe posix_spawn(&child, $0, &actions, &attributes, &argv, &envp)
        }
        if status != 0 { throw failure("cannot be run", Errno(rawValue: status)) }
        return child
    }

    private func failure(_ what: String, _ cause: Errno? = nil) -> CacheError {
        CacheError(
            .unusable, "the command for the cache's key, \(path), \(what)", cause: cause,
            remedy: "Run it by hand: it is to write 32 bytes, 64 hexadecimal digits or base64, and end with 0"
        )
    }
}
