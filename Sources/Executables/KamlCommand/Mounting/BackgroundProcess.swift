package import Glibc
package import System

/// This same program started again in the background: by posix_spawn, since a fork of a process with
/// threads is not safe, in a session of its own, with its output in a file.
package struct BackgroundProcess: ~Copyable {
    package let identifier: pid_t
    private let pipe: FileDescriptor

    /// The descriptor that the new process finds the pipe at.
    package static let readyDescriptor: Int32 = 3

    /// POSIX_SPAWN_SETSID, which only _GNU_SOURCE declares.
    private static let setSession: Int16 = 0x80

    /// `arguments` without the program's name.
    package static func start(_ arguments: [ByteString], log: ByteString) throws -> BackgroundProcess {
        var ends: [Int32] = [-1, -1]
        guard unsafe Glibc.pipe(&ends) == 0 else { throw Failure("cannot make a pipe", Errno.last) }
        let reading = FileDescriptor(owning: ends[0])
        let writing = FileDescriptor(owning: ends[1])
        // No other thread starts a process meanwhile, so nobody inherits the ends in between.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        _ = unsafe log.withCString {
            unsafe posix_spawn_file_actions_addopen(
                &actions, STDOUT_FILENO, $0, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        unsafe posix_spawn_file_actions_adddup2(&actions, writing.rawValue, readyDescriptor)
        unsafe posix_spawnattr_setflags(&attributes, setSession)
        var identifier = pid_t()
        let status = unsafe spawn(&identifier, "/proc/self/exe", &actions, &attributes, ["kaml"] + arguments)
        guard status == 0 else { throw Failure("cannot start the mount's process", Errno(rawValue: status)) }
        return BackgroundProcess(identifier: identifier, pipe: reading)
    }

    private init(identifier: pid_t, pipe: consuming FileDescriptor) {
        self.identifier = identifier
        self.pipe = pipe
    }

    /// Waits until the process is ready or has failed; nil when it died without a word.
    package func waitUntilReady() -> ReadinessMessage? { ReadinessMessage.receive(from: pipe) }

    private static func spawn(
        _ identifier: inout pid_t, _ program: String, _ actions: inout posix_spawn_file_actions_t,
        _ attributes: inout posix_spawnattr_t, _ arguments: [ByteString]
    ) -> Int32 {
        let copies = unsafe arguments.map { argument in unsafe argument.withCString { unsafe strdup($0) } }
        defer { for index in unsafe copies.indices { unsafe free(copies[index]) } }
        return unsafe posix_spawn(&identifier, program, &actions, &attributes, copies + [nil], environ)
    }
}
