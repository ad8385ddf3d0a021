import FuseMount
import FuseTestSupport
import Glibc
import MountHolder
import System
import Testing

/// Mount tests need /dev/fuse and the right to mount.
let canMount = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0

/// A holder, the servers that come and go, and what is served. Used on plain threads.
final class Lab {
    let directory: TemporaryDirectory
    var mounts: ByteString { directory.path.appending("mounts") }
    var mountPoint: ByteString { mounts.appending("a") }
    var socket: ByteString { directory.path.appending("holder.sock") }
    private(set) var holder: Int32 = 0
    private var children: Set<Int32> = []
    private var logs = 0

    static let user = "65534"
    /// Of the user nobody, without any capability, and without a way to get one.
    static let withoutPrivileges: [ByteString] = [
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]

    init(holderArguments: [ByteString]? = nil) throws {
        directory = try TemporaryDirectory()
        let files = HostFileSystem()
        try files.makeDirectory(mounts, mode: 0o755)
        try files.makeDirectory(mountPoint, mode: 0o755)
        try startHolder(holderArguments)
    }

    /// `wrapper` runs the holder, as a service manager does.
    func startHolder(_ wrapper: [ByteString]? = nil) throws {
        let log = try log("holder")
        holder = try start(
            (wrapper ?? []) + [
                try Self.program("kamld-holder"), "--socket", socket, "--agent-user", ByteString(Self.user),
                "--allow-under", mounts,
            ], output: log.rawValue)
        children.insert(holder)
        try eventually { (try? MessageSocket.connect(to: self.socket)) != nil }
    }

    func stopHolder(_ signal: Int32) {
        kill(holder, signal)
        reap(holder)
    }

    func reap(_ child: Int32) {
        while waitpid(child, nil, 0) < 0, errno == EINTR {}
        children.remove(child)
    }

    private func log(_ name: String) throws -> FileDescriptor {
        try FileDescriptor.open(
            directory.path.appending(ByteString(name + ".log")), O_WRONLY | O_CREAT | O_APPEND)
    }

    func logged(_ name: String) throws -> String {
        String(decoding: try contents(directory.path.appending(ByteString(name + ".log"))), as: UTF8.self)
    }

    // MARK: - Serving and loading

    func writeData() throws {
        let data = directory.path.appending("data")
        try HostFileSystem().makeDirectory(data, mode: 0o755)
        func write(_ name: String, _ bytes: [UInt8]) throws {
            let path = data.appending(ByteString(name))
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o644).release()
            defer { close(file) }
            if bytes.withUnsafeBytes({ pwrite(file, $0.baseAddress, $0.count, 0) }) != bytes.count {
                throw Errno.last
            }
        }
        for number in 0..<LoadedTree.largeFiles {
            try write(LoadedTree.large(number), Pattern.bytes(number, count: LoadedTree.largeBytes))
        }
        for directory in 0..<LoadedTree.directories {
            for number in 0..<LoadedTree.smallFiles {
                let content = Pattern.bytes(
                    LoadedTree.smallNumber(directory, number), count: LoadedTree.smallBytes)
                try write("dir\(directory)-small\(number)", content)
            }
        }
    }

    /// Starts a serving process; does not wait for it.
    func serve(_ profile: String) throws -> Int32 {
        let log = try log("server")
        let child = try start(
            Self.withoutPrivileges + [
                try Self.program("holder-test-helper"), "serve", socket, mountPoint, ByteString(profile),
                directory.path.appending("data"),
            ], output: log.rawValue)
        children.insert(child)
        return child
    }

    /// Starts a serving process, and waits until it has said so.
    func serveAndWait(_ profile: String, for word: String = "mounted\n") throws -> Int32 {
        let child = try serve(profile)
        try eventually { (try? self.logged("server").contains(word)) ?? false }
        return child
    }

    func load() throws -> Int32 {
        let log = try log("load")
        let child = try start(
            [try Self.program("holder-test-helper"), "load", mountPoint], output: log.rawValue)
        children.insert(child)
        try eventually { (try? self.logged("load").contains("loading\n")) ?? false }
        return child
    }

    /// SIGSTOP; returns when every thread stands still. One that had a request in hand would keep its sender from being
    /// killed.
    func stop(_ child: Int32) throws {
        kill(child, SIGSTOP)
        try eventually {
            ((try? names(ByteString("/proc/\(child)/task"))) ?? []).allSatisfy { thread in
                let place = ByteString("/proc/\(child)/task").appending(thread).appending("stat")
                let text = String(decoding: (try? contents(place)) ?? [], as: UTF8.self)
                return text.split(separator: ")").last?.hasPrefix(" T") == true
            }
        }
    }

    func killServer(_ child: Int32) {
        kill(child, SIGKILL)
        reap(child)
    }

    func end() {
        _ = try? run(["umount", "-l", mountPoint])
        for child in children {
            kill(child, SIGCONT)
            kill(child, SIGKILL)
            reap(child)
        }
        directory.remove()
    }

    /// Programs lie next to the test program.
    static func program(_ name: ByteString) throws -> ByteString {
        let own = try run(["readlink", ByteString("/proc/\(getpid())/exe")]).output
        let folder = own.split(separator: "/").dropLast().map { "/" + $0 }.joined()
        let path = ByteString(folder).appending(name)
        _ = try status(path)
        return path
    }
}

func eventually(
    within seconds: Int = 10, _ condition: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    for _ in 0..<(seconds * 500) {
        if condition() { return }
        usleep(2000)
    }
    Issue.record("did not become true", sourceLocation: sourceLocation)
    throw Errno.timedOut
}

/// How often killing loops go round: a few times, or for a night.
let isStress = getenv("KAML_STRESS") != nil

/// Open descriptors of a process.
func descriptors(of process: Int32) throws -> [String] {
    try names(ByteString("/proc/\(process)/fd")).map { name in
        var target = [CChar](repeating: 0, count: 256)
        let length = ByteString("/proc/\(process)/fd").appending(name).withCString {
            readlink($0, &target, 255)
        }
        let bytes = target.prefix(max(0, length)).map { UInt8(bitPattern: $0) }
        let path = String(decoding: bytes, as: UTF8.self)
        // As a device is called that covered it for the length of a test.
        return path == "/dev/fuse (deleted)" ? "/dev/fuse" : path
    }
}
