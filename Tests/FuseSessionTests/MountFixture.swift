import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import Synchronization
import System
import Testing

/// Mount tests need /dev/fuse and the right to mount.
let canMount = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0

/// Runs a body on a plain thread. Nothing here may touch a mount from the cooperative pool: its threads are
/// few, and a blocked one keeps the test runner from going on.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
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

final class Notices: Sendable {
    private let texts = Mutex<[String]>([])
    func add(_ text: String) { texts.withLock { $0.append(text) } }
    var all: [String] { texts.withLock { $0 } }
}

/// A directory of its own under /tmp, with a mount point in it.
struct TemporaryDirectory: Sendable {
    let path: ByteString
    var mountPoint: ByteString { path.appending("mount") }

    init() throws {
        var template = Array("/tmp/kaml-fuse-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        path = ByteString(template.dropLast().map { UInt8(bitPattern: $0) })
        try HostFileSystem().makeDirectory(mountPoint, mode: 0o755)
        // mkdtemp makes it private; the user of one test has to get through.
        _ = path.withCString { chmod($0, 0o755) }
    }

    func remove() {
        _ = try? run(["/bin/rm", "-rf", "--one-file-system", path])
    }

    /// A file on the real file system, for passthrough.
    func write(_ name: ByteString, _ bytes: [UInt8]) throws -> Int32 {
        let file = try FileDescriptor.open(path.appending(name), O_RDWR | O_CREAT)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        return file.release()
    }
}

/// A tree, mounted and served by this process.
struct Mounted: Sendable {
    let directory: TemporaryDirectory
    let tree: MemoryTree
    let mounter: Mounter
    let session: FuseSession
    let notices: Notices

    var path: ByteString { directory.mountPoint }
    func path(_ name: ByteString) -> ByteString { path.appending(name) }
}

/// Mounts a tree, runs `body` on a plain thread, and unmounts whatever happened.
@discardableResult
func withMount<Value: Sendable>(
    _ tree: MemoryTree, _ profile: MountProfile, in given: TemporaryDirectory? = nil,
    _ body: @escaping @Sendable (Mounted) throws -> Value
) async throws -> Value {
    try await onThread {
        let directory = try given ?? TemporaryDirectory()
        defer { if given == nil { directory.remove() } }
        let mounter = Mounter(
            MountOptions(mountPoint: directory.mountPoint, source: "kaml:test@main", allowOther: true))
        let notices = Notices()
        let configuration = FuseSession.Configuration(profile: profile, notice: { notices.add($0) })
        let session = try FuseSession(
            mounter.attach(), operations: tree, configuration: configuration)
        defer {
            do {
                try mounter.detach()
            } catch {
                // Already unmounted, or still in use: out of the tree, and the workers sent home.
                try? mounter.detach(lazily: true)
                session.stop()
            }
            session.waitUntilEnded()
        }
        try session.start()
        try session.waitUntilServing()
        return try body(
            Mounted(directory: directory, tree: tree, mounter: mounter, session: session, notices: notices))
    }
}

// MARK: - File access as programs do it

@discardableResult
func openFile(_ path: ByteString, _ flags: Int32 = O_RDONLY) throws(Errno) -> FileDescriptor {
    try FileDescriptor.open(path, flags)
}

@discardableResult
func contents(_ path: ByteString) throws -> [UInt8] {
    let file = try openFile(path)
    return try contents(file)
}

@discardableResult
func contents(_ file: borrowing FileDescriptor) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = try chunk.withUnsafeMutableBytes { try file.read(into: $0, at: UInt64(bytes.count)) }
        if count == 0 { return bytes }
        bytes += chunk.prefix(count)
    }
}

@discardableResult
func names(_ path: ByteString) throws -> [ByteString] {
    try HostFileSystem().list(path).map(\.name)
}

/// How many descriptors of this process are FUSE connections.
func openConnections() throws -> Int {
    try names("/proc/self/fd").count { name in
        var target = [CChar](repeating: 0, count: 64)
        let length = ByteString("/proc/self/fd").appending(name).withCString { readlink($0, &target, 64) }
        return length > 0 && target[..<length].elementsEqual("/dev/fuse".utf8.map(CChar.init))
    }
}

@discardableResult
func status(_ path: ByteString) throws -> FileStatus { try HostFileSystem().status(of: path) }

/// The errno of a call that must fail, 0 when it did not.
func failure(_ call: () -> Int32) -> Int32 { call() < 0 ? errno : 0 }

/// Starts a program and returns its process id.
func start(_ arguments: [ByteString], output: Int32? = nil) throws -> pid_t {
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
func run(_ arguments: [ByteString]) throws -> (status: Int32, output: String) {
    var template = Array("/tmp/kaml-run-XXXXXX".utf8CString)
    let file = FileDescriptor(owning: mkstemp(&template))
    unlink(template)
    let child = try start(arguments, output: file.rawValue)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return (status >> 8 & 0xFF, String(decoding: try contents(file), as: UTF8.self))
}
