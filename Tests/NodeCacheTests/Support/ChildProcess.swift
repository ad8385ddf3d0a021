import Glibc
import System

/// A program that a test runs, and may kill.
struct ChildProcess {
    let pid: pid_t
    private let output: Int32

    /// The directory with this build's executables.
    static func productsDirectory() -> String? {
        guard let path = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(path) }
        return String(cString: path).split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
    }

    /// Starts a program found by PATH, with its standard output in a pipe.
    init(_ arguments: [String]) throws(Errno) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Errno.last }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var started: pid_t = 0
        let status = posix_spawnp(&started, arguments[0], &actions, nil, &argv, environ)
        close(ends[1])
        guard status == 0 else {
            close(ends[0])
            throw Errno(rawValue: status)
        }
        pid = started
        output = ends[0]
    }

    func kill() { _ = Glibc.kill(pid, SIGKILL) }

    /// What it wrote until its end, and the status of wait(2).
    func finish() -> (output: String, status: Int32) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(output, &buffer, buffer.count)
            if count <= 0 { break }
            bytes += buffer.prefix(count)
        }
        close(output)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        return (String(decoding: bytes, as: UTF8.self), status)
    }
}
