@testable import FuseMount
@testable import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

extension Mounts {
    @Suite struct Lifecycle {
        private static func mounter(_ path: ByteString) -> Mounter {
            Mounter(MountOptions(mountPoint: path, source: "kaml:test@main", allowOther: true))
        }

        private static func causeOfAttaching(_ path: ByteString) -> MountError.Cause? {
            do throws(MountError) {
                let device = try mounter(path).attach()
                _ = consume device
                return nil
            } catch {
                return error.cause
            }
        }

        @Test func `a bad mount point is refused in words`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                #expect(Self.causeOfAttaching(directory.path.appending("absent")) == .missing)
                #expect(Self.causeOfAttaching(directory.path) == .notEmpty)
                let file = directory.path.appending("file")
                close(try directory.write("file", [1]))
                #expect(Self.causeOfAttaching(file) == .notDirectory)
                #expect(Self.causeOfAttaching(file.appending("below")) == .notDirectory)
                do throws(MountError) {
                    try Mounter.unmount(directory.mountPoint, lazily: false)
                } catch {
                    #expect(error.cause == .notMounted)
                }
                let text = MountError(directory.path, .notEmpty).description
                #expect(text.contains("\(directory.path)") && text.contains("not empty"))
            }
        }

        @Test func `a directory with entries may be mounted over on request`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                try HostFileSystem().makeDirectory(directory.mountPoint.appending("hidden"), mode: 0o755)
                var options = MountOptions(
                    mountPoint: directory.mountPoint, source: "kaml:x", allowOther: false)
                options.allowNonEmpty = true
                let device = try Mounter(options).attach()
                _ = consume device
                try Mounter.unmount(directory.mountPoint, lazily: true)
            }
        }

        @Test func `a second mount on a living one is refused, by whatever path`() async throws {
            try await withMount(MemoryTree(), .zeroMessageOpen) { mounted throws in
                #expect(Self.causeOfAttaching(mounted.path) == .alreadyMounted(source: "kaml:test@main"))
                let link = mounted.directory.path.appending("link")
                try run(["ln", "-s", "mount", link])
                #expect(Self.causeOfAttaching(link) == .alreadyMounted(source: "kaml:test@main"))
                #expect(
                    Self.causeOfAttaching(link.appending("/")) == .alreadyMounted(source: "kaml:test@main"))
            }
        }

        @Test func `read-ahead is raised`() async throws {
            try await withMount(MemoryTree(), .zeroMessageOpen) { mounted throws in
                try mounted.mounter.raiseReadAhead(toKiB: 4096)
                let entry = try #require(try MountTable.entry(at: mounted.path))
                let path = ByteString("/sys/class/bdi/\(entry.device)/read_ahead_kb")
                #expect(try readSmallFile(path) == Array("4096\n".utf8))
            }
        }

        @Test func `requests are large and the handshake is kept`() async throws {
            try await withMount(MemoryTree(), .passthrough) { mounted throws in
                let handshake = try #require(mounted.session.negotiated)
                #expect(handshake.maxPages == 256)
                #expect(handshake.maxWrite == 1 << 20)
                #expect(handshake.request.count >= 104 && handshake.reply.count == 80)
                let readDirectoryPlus: UInt64 = 1 << 13
                let automatic: UInt64 = 1 << 14
                #expect(handshake.agreed & readDirectoryPlus != 0 && handshake.agreed & automatic == 0)
            }
        }

        @Test func `a mount in use says so, and goes lazily while the open file works on`() async throws {
            let tree = MemoryTree()
            let bytes = [UInt8](repeating: 3, count: 500_000)
            tree.file("file", bytes)
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            try await onThread {
                let mounter = Self.mounter(directory.mountPoint)
                let session = try FuseSession(
                    mounter.attach(), operations: tree,
                    configuration: .init(profile: .zeroMessageOpen))
                try session.start()
                try session.waitUntilServing()
                do {
                    let file = try openFile(directory.mountPoint.appending("file"))
                    do throws(MountError) {
                        try mounter.detach()
                        Issue.record("unmounted under an open file")
                    } catch {
                        #expect(error.cause == .busy)
                    }
                    try mounter.detach(lazily: true)
                    #expect(try names(directory.mountPoint) == [])
                    #expect(try contents(file) == bytes)
                }
                #expect(session.waitUntilEnded() == .unmounted)
            }
        }

        @Test func `stop sends sleeping workers home and leaves the mount`() async throws {
            try await onThread {
                let served = try serve(MemoryTree())
                #expect(try names(served.mountPoint) == [])
                served.session.stop()
                #expect(served.session.waitUntilEnded() == .stopped)
                #expect(try MountTable.entry(at: served.mountPoint) != nil)
                served.end()
            }
        }

        @Test func `a store that does not answer keeps neither unmounting nor stopping waiting`() async throws
        {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                let tree = MemoryTree()
                let inode = tree.file("held", [1, 2, 3])
                tree.holdReads(of: inode)
                let reader = try Self.stopUnderReader(directory, tree)
                // The connection has gone with the session, and with it the reader's last request.
                waitpid(reader, nil, 0)
            }
        }

        /// Unmounts and stops while a store keeps a reader waiting; returns the reader.
        private static func stopUnderReader(_ directory: borrowing TemporaryDirectory, _ tree: MemoryTree)
            throws -> pid_t
        {
            let mounter = mounter(directory.mountPoint)
            var configuration = FuseSession.Configuration(profile: .zeroMessageOpen, workers: 2)
            configuration.patienceMilliseconds = 200
            let session = try FuseSession(mounter.attach(), operations: tree, configuration: configuration)
            try session.start()
            try session.waitUntilServing()
            let reader = try start(["cat", directory.mountPoint.appending("held")])
            usleep(100_000)
            // Others are served on.
            var totals = statvfs()
            #expect(directory.mountPoint.withCString { statvfs($0, &totals) } == 0)
            let began = HostClock().monotonicNanoseconds()
            try mounter.detach(lazily: true)
            #expect(session.stop(withinMilliseconds: 200) == false)
            session.waitUntilEnded()
            #expect(HostClock().monotonicNanoseconds() - began < 3_000_000_000)
            tree.letReadsGo()
            #expect(session.stop())
            return reader
        }

        @Test func `a session that nobody starts ends cleanly`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                do {
                    let session = try FuseSession(
                        Self.mounter(directory.mountPoint).attach(), operations: MemoryTree(),
                        configuration: .init(profile: .passthrough))
                    #expect(session.negotiated == nil)
                }
                // The connection went with the session.
                #expect(Self.causeOfAttaching(directory.mountPoint) == .dead)
                try Mounter.unmount(directory.mountPoint, lazily: false)
            }
        }

        @Test func `a session on something that is no connection fails to start serving`() async throws {
            try await onThread {
                let device = try openFile("/dev/null", O_RDWR)
                let mount = try AttachedMount(
                    device: device, openFiles: OpenFilesMemory.make(), handshake: nil,
                    control: NoControl())
                let session = try FuseSession(
                    mount, operations: MemoryTree(), configuration: .init(profile: .passthrough))
                try session.start()
                #expect(throws: FuseSessionError.self) { try session.waitUntilServing() }
                session.stop()
            }
        }

        @Test func `mounting and unmounting again and again leaves nothing behind`() async throws {
            try await onThread {
                for _ in 0..<40 {
                    let served = try serve(MemoryTree(), .zeroMessageOpen)
                    #expect(try names(served.mountPoint) == [])
                    try served.mounter.detach()
                    #expect(served.session.waitUntilEnded() == .unmounted)
                    served.end()
                }
                // Other suites have some too.
                #expect(try openConnections() < 30)
            }
        }

        @Test func `a killed server leaves a mount that is named dead and can be cleared`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                let child = try startServer(directory, as: [])
                #expect(try contents(directory.mountPoint.appending("hello")) == Array("hello\n".utf8))
                kill(child, SIGKILL)
                waitpid(child, nil, 0)
                let (_, said) = try run(["stat", "-f", directory.mountPoint])
                #expect(said.contains("Transport endpoint is not connected"))
                #expect(Self.causeOfAttaching(directory.mountPoint) == .dead)
                #expect(MountError(directory.mountPoint, .dead).description.contains("umount -l"))
                try Mounter.unmount(directory.mountPoint, lazily: true)
                #expect(Self.causeOfAttaching(directory.mountPoint) == nil)
                try Mounter.unmount(directory.mountPoint, lazily: true)
            }
        }

        @Test func `a stopped server is told from a dead one`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                let child = try startServer(directory, as: [])
                kill(child, SIGSTOP)
                #expect(Self.causeOfAttaching(directory.mountPoint) == .unresponsive)
                kill(child, SIGKILL)
                waitpid(child, nil, 0)
                try Mounter.unmount(directory.mountPoint, lazily: true)
            }
        }

        @Test(.enabled(if: helperIsSetuid, "fusermount3 is not installed setuid root"))
        func `a user without privileges mounts through fusermount3, without passthrough`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                let undo = try openDeviceToUsers(directory)
                defer { undo() }
                _ = directory.mountPoint.withCString { chown($0, 65534, 65534) }
                let asUser: [ByteString] = [
                    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                ]
                let backing = directory.path.appending("backing")
                close(try directory.write("backing", [UInt8](repeating: 4, count: 10_000)))
                _ = backing.withCString { chmod($0, 0o644) }
                let child = try startServer(directory, as: asUser, backing: backing)
                let entry = try #require(try MountTable.entry(at: directory.mountPoint))
                #expect(entry.type == Mounter.fileSystemType && entry.source == "kaml:test,with@comma")
                #expect(
                    try run(asUser + ["cat", directory.mountPoint.appending("hello")]).output == "hello\n")
                #expect(
                    try run(asUser + ["wc", "-c", directory.mountPoint.appending("large")]).output.hasPrefix(
                        "10000 "))
                // Without allow_other even root stays out.
                #expect(throws: Errno.accessDenied) { try openFile(directory.mountPoint.appending("hello")) }
                #expect(try run(asUser + ["fusermount3", "-u", directory.mountPoint]).status == 0)
                waitpid(child, nil, 0)
                let log = String(decoding: try contents(directory.path.appending("log")), as: UTF8.self)
                #expect(log.contains("notice: passthrough is off"))
                #expect(log.contains("read_ahead_kb"))
                #expect(log.contains("ended: unmounted"))
            }
        }

        @Test(.enabled(if: helperIsSetuid, "fusermount3 is not installed setuid root"))
        func `what fusermount3 refuses is said in its words`() async throws {
            try await onThread {
                let directory = try TemporaryDirectory()
                defer { directory.remove() }
                let options = MountOptions(
                    mountPoint: directory.mountPoint, source: "kaml:test", allowOther: true)
                let mounter = Mounter(options, isPrivileged: false)
                if !Mounter.usersMayAllowOthers {
                    do throws(MountError) {
                        _ = try mounter.attach()
                        Issue.record("let others in against fuse.conf")
                    } catch {
                        #expect(error.cause == .otherUsersNotAllowed)
                    }
                }
                let asUser: [ByteString] = [
                    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                ]
                let (status, said) = try run(asUser + [serverPath(), directory.mountPoint, "zero"])
                #expect(status == 1 && said.contains("fusermount3 failed"))
                #expect(said.contains("no write access") || said.contains("/dev/fuse"))
            }
        }
    }
}

/// udev gives /dev/fuse to everybody, a bare machine only to root. There it is covered by a device of its own
/// for the length of a test.
func openDeviceToUsers(_ directory: TemporaryDirectory) throws -> () -> Void {
    if try status("/dev/fuse").mode & 0o006 == 0o006 { return {} }
    let device = directory.path.appending("device")
    try run(["mknod", "-m", "666", device, "c", "10", "229"])
    #expect(try run(["mount", "--bind", device, "/dev/fuse"]).status == 0)
    // Lazily: other tests may have it open.
    return { _ = try? run(["umount", "-l", "/dev/fuse"]) }
}

let helperIsSetuid = (try? status("/usr/bin/fusermount3")).map { $0.mode & UInt32(S_ISUID) != 0 } ?? false

/// The test server lies next to the test program.
func serverPath() throws -> ByteString {
    let own = try run(["readlink", ByteString("/proc/\(getpid())/exe")]).output
    let folder = own.split(separator: "/").dropLast().map { "/" + $0 }.joined()
    let path = ByteString(folder + "/fuse-test-server")
    _ = try status(path)
    return path
}

/// Starts a serving process and waits until it serves.
func startServer(
    _ directory: TemporaryDirectory, as user: [ByteString], backing: ByteString? = nil
) throws -> pid_t {
    let log = directory.path.appending("log")
    let output = try FileDescriptor.open(log, O_RDWR | O_CREAT | O_APPEND)
    let arguments: [ByteString] = [try serverPath(), directory.mountPoint, "passthrough", "4"]
    let child = try start(user + arguments + (backing.map { [$0] } ?? []), output: output.rawValue)
    for _ in 0..<500 {
        usleep(10_000)
        if String(decoding: try contents(log), as: UTF8.self).contains("serving\n") { return child }
        if waitpid(child, nil, WNOHANG) == child { break }
    }
    throw ServerDidNotStart(log: String(decoding: try contents(log), as: UTF8.self))
}

struct ServerDidNotStart: Error { let log: String }

/// For a connection that is none.
final class NoControl: MountControl {
    let mountPoint: ByteString = "/nowhere"
    func note(_ handshake: Handshake) {}
    func registerBacking(_ descriptor: Int32, device: Int32) throws(Errno) -> Int32 { throw .notPermitted }
    func dropBacking(_ id: Int32, device: Int32) {}
    func keepBackings(_ ids: Set<Int32>, device: Int32) {}
    func raiseReadAhead(toKiB kibibytes: Int) {}
    func detach(lazily: Bool) {}
    func ended() {}
}
