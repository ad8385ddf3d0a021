import Glibc
import System

/// What went wrong while a helper program was started or run.
struct ProgramFailure: Error { var detail: String }

/// Runs a program to its end, which must be good.
package func run(_ arguments: String...) throws {
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(null) }
    let process = try spawn(arguments, input: null, output: null)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 { if errno != EINTR { throw Errno.last } }
    guard status == 0 else { throw ProgramFailure(detail: "\(arguments) ended with \(status)") }
}

/// Starts a program with these descriptors as its input and output.
func spawn(_ arguments: [String], input: Int32, output: Int32) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var process: pid_t = 0
    let status = posix_spawnp(&process, arguments[0], &actions, nil, pointers, environ)
    guard status == 0 else { throw Errno(rawValue: status) }
    return process
}

/// The two ends of a pipe, which no other program inherits.
func closedOnExecPipe() throws -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Errno.last }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
}
