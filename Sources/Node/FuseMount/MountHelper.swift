import CKamlSys
import Glibc
import System

/// fusermount3, the setuid helper through which a user without CAP_SYS_ADMIN mounts.
struct MountHelper {
    static let candidates: [ByteString] = [
        "/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3",
    ]

    let path: ByteString

    /// `nil` when it is not installed.
    init?(candidates: [ByteString] = MountHelper.candidates) {
        let found = candidates.first { candidate in
            unsafe candidate.withCString { unsafe access($0, X_OK) } == 0
        }
        guard let found else { return nil }
        path = found
    }

    enum Failure: Error {
        case said(String)
        case system(String, Errno)
    }

    /// Mounts, and receives the /dev/fuse descriptor that the helper opened.
    func mount(_ mountPoint: ByteString, options: ByteString) throws(Failure) -> FileDescriptor {
        let sockets = try Self.socketPair()
        let ours = FileDescriptor(owning: sockets.0)
        let theirs = FileDescriptor(owning: sockets.1)
        // The helper finds its end as descriptor 3, below every number that it opens itself.
        let inherited: Int32 = 3
        try run(
            ["-o", options, "--", mountPoint], environment: ["_FUSE_COMMFD=3"],
            passing: (theirs.rawValue, inherited))
        let descriptor = kaml_receive_descriptor(ours.rawValue)
        if descriptor < 0 { throw .system("receiving the descriptor from fusermount3", .last) }
        return FileDescriptor(owning: descriptor)
    }

    func unmount(_ mountPoint: ByteString, lazily: Bool) throws(Failure) {
        try run([lazily ? "-uz" : "-u", "--", mountPoint], environment: [], passing: nil)
    }

    /// Runs the helper to its end; what it wrote to standard error is the failure's message.
    private func run(
        _ arguments: [ByteString], environment: [ByteString], passing: (Int32, Int32)?
    ) throws(Failure) {
        // A socket, since Swift's Glibc lacks pipe2: without O_CLOEXEC another thread's child inherits it.
        let sockets = try Self.socketPair()
        let said = FileDescriptor(owning: sockets.0)
        let child: pid_t
        do {
            let speaking = FileDescriptor(owning: sockets.1)
            child = try spawn(arguments, environment, standardError: speaking.rawValue, passing: passing)
        }
        var message: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1024)
        let descriptor = said.rawValue
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, Errno.last == .interrupted { continue }
            if count <= 0 { break }
            // Read to the end, or the helper would block; keep what a person would read.
            if message.count < 4096 { message += chunk.prefix(count) }
        }
        var status: Int32 = 0
        while unsafe waitpid(child, &status, 0) < 0 {
            if Errno.last != .interrupted { throw .system("waitpid", .last) }
        }
        if status == 0 { return }
        let text = ByteString(Array(message.filter { $0 != UInt8(ascii: "\n") })).description
        throw .said(text.isEmpty ? "wait status \(status)" : text)
    }

    private func spawn(
        _ arguments: [ByteString], _ environment: [ByteString], standardError: Int32,
        passing: (Int32, Int32)?
    ) throws(Failure) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, standardError, 2)
        if let (from, to) = passing { unsafe posix_spawn_file_actions_adddup2(&actions, from, to) }

        var argv = unsafe ([path] + arguments).map(Self.duplicate) + [nil]
        var envp = unsafe (environment + ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]).map(Self.duplicate) + [nil]
        defer {
            let strings = unsafe argv + envp
            for index in unsafe strings.indices { unsafe free(strings[index]) }
        }
        // The helper must not inherit the signals that this thread blocks.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var child = pid_t()
        let status = unsafe path.withCString {
            unsafe posix_spawn(&child, $0, &actions, &attributes, &argv, &envp)
        }
        if status != 0 { throw .system("posix_spawn of \(path)", Errno(rawValue: status)) }
        return child
    }

    private static func socketPair() throws(Failure) -> (Int32, Int32) {
        var sockets: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &sockets) == 0 else { throw .system("socketpair", .last) }
        return (sockets[0], sockets[1])
    }

    private static func duplicate(_ string: ByteString) -> UnsafeMutablePointer<CChar>? {
        unsafe string.withCString { unsafe strdup($0) }
    }
}
