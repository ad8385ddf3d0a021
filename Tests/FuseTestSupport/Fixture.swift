import Glibc
import Synchronization
package import System

/// Runs a body on a plain thread. Nothing here may touch a mount from the cooperative pool: its threads are
/// few, and a blocked one keeps the test runner from going on.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            try Thread(name: "test", stackBytes: 4 << 20) {
                continuation.resume(with: Result { try body() })
            }.detach()
        } catch {
            continuation.resume(throwing: error)
        }
    }
}

package final class Notices: Sendable {
    private let texts = Mutex<[String]>([])
    package init() {}
    package func add(_ text: String) { texts.withLock { $0.append(text) } }
    package var all: [String] { texts.withLock { $0 } }
}

/// A directory of its own under /tmp, with a mount point in it.
package struct TemporaryDirectory: Sendable {
    package let path: ByteString
    package var mountPoint: ByteString { path.appending("mount") }

    package init() throws {
        var template = Array("/tmp/kaml-fuse-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        path = ByteString(template.dropLast().map { UInt8(bitPattern: $0) })
        try HostFileSystem().makeDirectory(mountPoint, mode: 0o755)
        // mkdtemp makes it private; the user of one test has to get through.
        _ = path.withCString { chmod($0, 0o755) }
    }

    package func remove() {
        _ = try? run(["/bin/rm", "-rf", "--one-file-system", path])
    }

    /// A file on the real file system, for passthrough.
    package func write(_ name: ByteString, _ bytes: [UInt8]) throws -> Int32 {
        let file = try FileDescriptor.open(path.appending(name), O_RDWR | O_CREAT)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        return file.release()
    }
}

// MARK: - File access as programs do it

@discardableResult
package func openFile(_ path: ByteString, _ flags: Int32 = O_RDONLY) throws(Errno) -> FileDescriptor {
    try FileDescriptor.open(path, flags)
}

@discardableResult
package func contents(_ path: ByteString) throws -> [UInt8] {
    let file = try openFile(path)
    return try contents(file)
}

@discardableResult
package func contents(_ file: borrowing FileDescriptor) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = try chunk.withUnsafeMutableBytes { try file.read(into: $0, at: UInt64(bytes.count)) }
        if count == 0 { return bytes }
        bytes += chunk.prefix(count)
    }
}

@discardableResult
package func names(_ path: ByteString) throws -> [ByteString] {
    try HostFileSystem().list(path).map(\.name)
}

/// How many descriptors of this process are FUSE connections.
package func openConnections() throws -> Int {
    try names("/proc/self/fd").count { name in
        var target = [CChar](repeating: 0, count: 64)
        let length = ByteString("/proc/self/fd").appending(name).withCString { readlink($0, &target, 64) }
        // A device that covered it for the length of a test is "(deleted)" afterwards.
        return length > 0 && target[..<length].starts(with: "/dev/fuse".utf8.map(CChar.init))
    }
}

@discardableResult
package func status(_ path: ByteString) throws -> FileStatus { try HostFileSystem().status(of: path) }

/// The errno of a call that must fail, 0 when it did not.
package func failure(_ call: () -> Int32) -> Int32 { call() < 0 ? errno : 0 }

/// Starts a program and returns its process id.
package func start(_ arguments: [ByteString], output: Int32? = nil) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let output {
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
    }
    var argv = arguments.map { $0.withCString { strdup($0) } } + [nil]
    defer { for argument in argv { free(argument) } }
    var envp: [UnsafeMutablePointer<CChar>?] = [
        strdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), strdup("LC_ALL=C"), nil,
    ]
    defer { for variable in envp { free(variable) } }
    // A thread made by libdispatch blocks all signals; a shell without SIGCHLD waits for ever.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var child = pid_t()
    let result = posix_spawnp(&child, argv[0] ?? strdup(""), &actions, &attributes, &argv, &envp)
    if result != 0 { throw Errno(rawValue: result) }
    return child
}

/// Runs a program to its end; its exit status and what it wrote.
@discardableResult
package func run(_ arguments: [ByteString]) throws -> (status: Int32, output: String) {
    var template = Array("/tmp/kaml-run-XXXXXX".utf8CString)
    let file = FileDescriptor(owning: mkstemp(&template))
    unlink(template)
    let child = try start(arguments, output: file.rawValue)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return (status >> 8 & 0xFF, String(decoding: try contents(file), as: UTF8.self))
}
