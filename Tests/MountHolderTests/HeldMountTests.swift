import FuseMount
import FuseTestSupport
import Glibc
import MountHolder
import NotifySocket
import System
import Testing

/// With a real holder and real mounts.
@Suite(.serialized, .enabled(if: canMount, "mounting needs root and /dev/fuse"))
struct `Held mounts` {
    private func withLab<Value: Sendable>(_ body: @escaping @Sendable (Lab) throws -> Value) async throws {
        _ = try await onThread {
            let lab = try Lab()
            defer { lab.end() }
            return try body(lab)
        }
    }

    // MARK: - Killed servers

    /// What the load says at its end, and the longest wait after each kill in milliseconds.
    private struct Outcome {
        var summary: String
        var stalls: [Double]
    }

    private static func outcome(_ lab: Lab, _ kills: [UInt64]) throws -> Outcome {
        let lines = try lab.logged("load").split(separator: "\n")
        let slow = lines.compactMap { line -> (end: UInt64, microseconds: UInt64)? in
            let fields = line.split(separator: " ")
            guard fields.count == 3, fields[0] == "slow", let end = UInt64(fields[1]),
                let time = UInt64(fields[2])
            else { return nil }
            return (end, time)
        }
        let stalls = kills.map { kill in
            slow.filter { $0.end > kill && $0.end - $0.microseconds * 1000 < kill }
                .map { Double($0.microseconds) / 1000 }.max() ?? 0
        }
        let others = lines.filter { !$0.hasPrefix("slow ") && $0 != "loading" }
        return Outcome(summary: others.joined(separator: "\n"), stalls: stalls.sorted())
    }

    @Test(arguments: ["zero", "passthrough"])
    func `readers, mappings and a walker outlive a server that is killed again and again`(
        _ profile: String
    ) async throws {
        try await withLab { lab throws in
            try lab.writeData()
            var server = try lab.serveAndWait(profile)
            let load = try lab.load()
            var kills: [UInt64] = []
            for _ in 0..<(isStress ? 1000 : 30) {
                usleep(UInt32.random(in: 0...100_000))
                kills.append(HostClock().monotonicNanoseconds())
                lab.killServer(server)
                server = try lab.serve(profile)
            }
            usleep(300_000)
            kill(load, SIGTERM)
            try eventually(within: 20) { (try? lab.logged("load").contains("operations ")) ?? false }
            let outcome = try Self.outcome(lab, kills)
            let percentile = outcome.stalls[outcome.stalls.count * 99 / 100]
            print("\(profile): \(kills.count) kills, \(outcome.summary), stall p99 \(percentile) ms")
            #expect(outcome.summary.hasSuffix("errors 0 wrong 0 hung 0"), "\(outcome.summary)")
            #expect(outcome.summary.hasPrefix("operations "))
            // Other suites run beside this one, and builds; the long run has the machine to itself.
            #expect(percentile <= (isStress ? 250 : 5000))
        }
    }

    @Test func `a server that is killed before INIT is answered leaves a mount that the next one serves`()
        async throws
    {
        try await withLab { lab throws in
            try lab.writeData()
            for _ in 0..<20 {
                let server = try lab.serve("zero")
                usleep(UInt32.random(in: 0...60_000))
                lab.killServer(server)
            }
            let server = try lab.serve("zero")
            try eventually {
                let log = (try? lab.logged("server")) ?? ""
                return log.hasSuffix("took over\n") || log.hasSuffix("mounted\n")
            }
            #expect(try names(lab.mountPoint).count == LoadedTree.largeFiles + LoadedTree.directories)
            lab.killServer(server)
        }
    }

    @Test func `the serving process has no capability and no way to get one`() async throws {
        try await withLab { lab throws in
            try lab.writeData()
            let server = try lab.serveAndWait("passthrough")
            let status = String(
                decoding: try contents(ByteString("/proc/\(server)/status")), as: UTF8.self)
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(status.contains("\(set):\t0000000000000000\n"))
            }
            #expect(
                status.contains("NoNewPrivs:\t1\n") && status.contains("Uid:\t65534\t65534\t65534\t65534\n"))
            // Passthrough all the same: the content comes from the file that was registered.
            let file = try openFile(lab.mountPoint.appending("large0"))
            #expect(try contents(file).prefix(64).elementsEqual(Pattern.bytes(0, count: 64)))
            #expect(try lab.logged("server").contains("notice") == false)
        }
    }

    // MARK: - Servers that hang, mounts that go away

    @Test func `readers of a stopped server can be killed, and the mount taken away`() async throws {
        try await withLab { lab throws in
            try lab.writeData()
            let server = try lab.serveAndWait("zero")
            try lab.stop(server)
            let reader = try start(["cat", lab.mountPoint.appending("large1")], output: nil)
            usleep(100_000)
            #expect(waitpid(reader, nil, WNOHANG) == 0)
            kill(reader, SIGKILL)
            try eventually { waitpid(reader, nil, WNOHANG) == reader }
            #expect(try run(["umount", "-l", lab.mountPoint]).status == 0)
            #expect(try MountTable.entry(at: lab.mountPoint) == nil)
            kill(server, SIGCONT)
            try eventually { (try? lab.logged("server").contains("ended: unmounted")) ?? false }
            lab.reap(server)
        }
    }

    @Test func `a mount that somebody unmounts while nobody serves is let go`() async throws {
        try await withLab { lab throws in
            try lab.writeData()
            let server = try lab.serveAndWait("zero")
            lab.killServer(server)
            #expect(try descriptors(of: lab.holder).contains("/dev/fuse"))
            #expect(try run(["umount", "-l", lab.mountPoint]).status == 0)
            try eventually { (try? descriptors(of: lab.holder).contains("/dev/fuse")) == false }
            #expect(try lab.logged("holder").contains("unmounted; its connection is let go"))
        }
    }

    @Test func `a mount point that is deleted from under the mount does not keep the mount from ending`()
        async throws
    {
        try await withLab { lab throws in
            try lab.writeData()
            let client = try HolderClient(socket: lab.socket)
            let mount = try client.attach(
                MountOptions(mountPoint: lab.mountPoint, source: "kaml:x", allowOther: true), description: [])
            // In another mount namespace the directory is no mount point and can go, which ends the mount here.
            #expect(
                try run([
                    "unshare", "-m", "--propagation", "private", "sh", "-c",
                    ByteString("umount -l \(lab.mountPoint) && rmdir \(lab.mountPoint)"),
                ]).status == 0)
            #expect(try MountTable.entry(at: lab.mountPoint) == nil)
            do throws(MountError) {
                try mount.control.detach(lazily: true)
                Issue.record("unmounted what is gone")
            } catch {
                // Or the holder has seen it end already.
                let isForgotten = "\(error)".contains("does not know the mount")
                #expect(error.cause == .notMounted || error.cause == .missing || isForgotten, "\(error)")
            }
            try eventually { (try? descriptors(of: lab.holder).contains("/dev/fuse")) == false }
        }
    }

    @Test func `mounting and unmounting again and again leaves nothing in the holder`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let before = try descriptors(of: lab.holder).count
            for _ in 0..<(isStress ? 10_000 : 200) {
                let mount = try client.attach(
                    MountOptions(mountPoint: lab.mountPoint, source: "kaml:x", allowOther: true),
                    description: [])
                try mount.control.detach(lazily: false)
                mount.control.ended()
            }
            #expect(try descriptors(of: lab.holder).count == before)
            // Other suites have some too.
            #expect(try openConnections() < 100)
        }
    }

    // MARK: - Who may ask, and what for

    @Test func `another user is sent away`() async throws {
        try await withLab { lab throws in
            try lab.writeData()
            #expect(lab.socket.withCString { chmod($0, 0o666) } == 0)
            let asOther = try run([
                "setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups",
                try Lab.program("holder-test-helper"),
                "serve", lab.socket, lab.mountPoint, "zero", lab.directory.path.appending("data"),
            ])
            #expect(asOther.status == 1)
            try eventually { (try? lab.logged("holder").contains("of user 65533 was sent away")) ?? false }
        }
    }

    @Test func `mounts are made below the allowed directories only, also through a symlink`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let outside = lab.directory.path.appending("outside")
            try HostFileSystem().makeDirectory(outside, mode: 0o755)
            let link = lab.mounts.appending("link")
            _ = outside.withCString { target in link.withCString { symlink(target, $0) } }
            for path in [outside, link, "/etc", lab.mounts.appending("../outside")] as [ByteString] {
                do throws(MountError) {
                    _ = try client.attach(
                        MountOptions(mountPoint: path, source: "kaml:x", allowOther: true), description: [])
                    Issue.record("mounted at \(path)")
                } catch {
                    #expect("\(error)".contains("--allow-under"))
                }
            }
            #expect(try descriptors(of: lab.holder).contains("/dev/fuse") == false)
        }
    }

    @Test func `bad mount points are refused with their own reasons`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            func cause(_ path: ByteString) -> MountError.Cause? {
                do throws(MountError) {
                    _ = try client.attach(
                        MountOptions(mountPoint: path, source: "kaml:x", allowOther: true), description: [])
                    return nil
                } catch {
                    return error.cause
                }
            }
            #expect(cause(lab.mounts.appending("absent")) == .missing)
            let file = lab.mounts.appending("file")
            _ = try FileDescriptor.open(file, O_WRONLY | O_CREAT)
            #expect(cause(file) == .notDirectory)
        }
    }

    @Test func `a mount point below a symlink into a mount that nobody serves is refused in time`()
        async throws
    {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let unserved = try client.attach(
                MountOptions(mountPoint: lab.mountPoint, source: "kaml:x", allowOther: true), description: [])
            let link = ByteString(lab.mountPoint.bytes + Array("-link".utf8))
            let inside = lab.mountPoint.appending("inside")
            #expect(inside.withCString { inside in link.withCString { symlink(inside, $0) } } == 0)
            do throws(MountError) {
                _ = try client.attach(
                    MountOptions(mountPoint: link.appending("below"), source: "kaml:y", allowOther: true),
                    description: [])
                Issue.record("mounted below a mount")
            } catch { #expect(error.cause == .unresponsive, "\(error)") }
            // It goes on for others.
            try client.check()
            try unserved.control.detach(lazily: true)
        }
    }

    @Test func `a mount point below a mount that nobody serves is refused at once`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let unserved = try client.attach(
                MountOptions(mountPoint: lab.mountPoint, source: "kaml:x", allowOther: true), description: [])
            do throws(MountError) {
                _ = try client.attach(
                    MountOptions(
                        mountPoint: lab.mountPoint.appending("below"), source: "kaml:y", allowOther: true),
                    description: [])
                Issue.record("mounted below a mount")
            } catch {
                #expect("\(error)".contains("kaml:x is mounted on \(lab.mountPoint), which lies above"))
            }
            try unserved.control.detach(lazily: false)
        }
    }

    @Test func `a file system that is not ours is never unmounted, whatever its number`() async throws {
        try await withLab { lab throws in
            #expect(try run(["mount", "-t", "tmpfs", "none", lab.mountPoint]).status == 0)
            let foreign = try #require(try MountTable.entry(at: lab.mountPoint))
            do throws(MountError) {
                try Mounter.unmount(lab.mountPoint, device: foreign.device, lazily: false)
                Issue.record("unmounted what is not ours")
            } catch {
                #expect(error.cause == .notMounted)
            }
            #expect(try MountTable.entry(at: lab.mountPoint) == foreign)
        }
    }

    @Test func `messages that make no sense end nothing but themselves`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let raw = try MessageSocket.connect(to: lab.socket)
            try raw.setTimeout(milliseconds: 5000)
            var random = SystemRandomNumberGenerator()
            let null = try FileDescriptor.open("/dev/null", O_RDONLY)
            for length in [1, 100, 60_000, HolderLimits.messageBytes + 1, 100_000] {
                let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
                try raw.send(bytes, descriptors: length % 2 == 0 ? [null.rawValue, null.rawValue] : [])
                guard let answer = try raw.receive(limit: HolderLimits.messageBytes),
                    case .refused(.badRequest) = try HolderReply.decoded(answer.bytes)
                else {
                    Issue.record("not refused")
                    continue
                }
            }
            // More connections than are kept, and an owner that stays.
            var others: [Int32] = []
            for _ in 0..<40 {
                let socket = try MessageSocket.connect(to: lab.socket)
                others.append(fcntl(socket.rawValue, F_DUPFD_CLOEXEC, 3))
            }
            for other in others { close(other) }
            let isNothingHeld = try client.next(after: 0) == nil
            #expect(isNothingHeld)
        }
    }

    @Test func `a second agent waits for the first one's end`() async throws {
        try await withLab { lab throws in
            do {
                let first = try HolderClient(socket: lab.socket)
                do throws(HolderError) {
                    _ = try HolderClient(socket: lab.socket, patienceMilliseconds: 50)
                    Issue.record("two agents own the mounts")
                } catch {
                    #expect("\(error)".contains("owns the mounts"))
                }
                #expect(first.holderProcess == lab.holder)
            }
            _ = try HolderClient(socket: lab.socket, patienceMilliseconds: 50)
        }
    }

    // MARK: - The holder's own end

    @Test func `a holder that was killed gets its mounts back from the agent`() async throws {
        try await withLab { lab throws in
            let client = try HolderClient(socket: lab.socket)
            let mount = try client.attach(
                MountOptions(mountPoint: lab.mountPoint, source: "kaml:x", allowOther: true), description: [7]
            )
            lab.stopHolder(SIGKILL)
            #expect(throws: HolderError.self) { try client.next(after: 0)?.held.id }
            try lab.startHolder()
            sleep(1)
            guard let found = try client.next(after: 0) else {
                Issue.record("nothing was given back")
                return
            }
            #expect(found.held.mountPoint == lab.mountPoint && found.held.description == [7])
            try mount.control.detach(lazily: false)
            #expect(try MountTable.entry(at: lab.mountPoint) == nil)
        }
    }

    @Test func `a service manager's store carries mounts over the holder's restart`() async throws {
        _ = try await onThread {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let notify = try NotifySocket(directory.path.appending("notify"))
            let underManager: [ByteString] = ["env", ByteString("NOTIFY_SOCKET=\(notify.address)")]
            let lab = try Lab(holderArguments: underManager)
            defer { lab.end() }
            try lab.writeData()
            let server = try lab.serveAndWait("zero")
            // The file is open in a process of its own: a child of this one would close it, and wait for the server.
            let copy = lab.directory.path.appending("copy")
            let reader = try start([
                "bash", "-c", "exec 3<$0; while [ ! -e $1.now ]; do sleep 0.02; done; cat <&3 >$1",
                lab.mountPoint.appending("large1"), copy,
            ])
            defer { kill(reader, SIGKILL) }
            try notify.take()
            #expect(notify.messages.contains("READY=1\n"))
            #expect(Set(notify.stored.map(\.name)) == ["kaml-connection-1", "kaml-files-1", "kaml-record-1"])
            // Both at once: nobody but the manager has the connection now.
            lab.stopHolder(SIGKILL)
            lab.killServer(server)
            let names = notify.stored.map(\.name).joined(separator: ":")
            let moved = notify.stored.enumerated().map { "\(3 + $0.offset)<&\($0.element.descriptor)" }
            for (_, descriptor) in notify.stored { _ = fcntl(descriptor, F_SETFD, 0) }
            try lab.startHolder([
                "bash", "-c",
                ByteString(
                    "exec \(moved.joined(separator: " ")); export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=\(names) NOTIFY_SOCKET=\(notify.address); exec \"$0\" \"$@\""
                ),
            ])
            #expect(try lab.logged("holder").contains("1 mounts are back"))
            let next = try lab.serveAndWait("zero", for: "took over\n")
            _ = try FileDescriptor.open(ByteString("\(copy).now"), O_WRONLY | O_CREAT)
            try eventually { waitpid(reader, nil, WNOHANG) == reader }
            #expect(try contents(copy) == Pattern.bytes(1, count: LoadedTree.largeBytes))
            #expect(try run(["umount", lab.mountPoint]).status == 0)
            try eventually {
                try? notify.take()
                return notify.stored.isEmpty
            }
            lab.reap(next)
        }
    }
}
