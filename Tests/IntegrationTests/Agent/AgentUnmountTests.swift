import Glibc
import System
import Testing

extension OnMounts {
    /// How mounts end.
    @Suite(.serialized) struct `An agent's mounts end` {
        @Test(arguments: [true, false]) func `when asked: not while busy, lazily always`(_ holding: Bool)
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                if holding { try node.startHolder() }
                try node.startAgent(holding: holding)
                let place = try node.mount()
                let user = try lab.start(["sh", "-c", ByteString("exec <\(place)/large0; sleep 1; cat")])
                guard try until(seconds: 10, { try node.isUsed(place, by: user) }) else {
                    throw Trouble("no user")
                }
                let busy = try lab.run(["kaml", "umount", place])
                #expect(busy.status != 0 && busy.errors.contains("in use"), "\(busy)")
                try lab.kaml("umount", "--lazy", place)
                #expect(try HostFileSystem().list(place).isEmpty)
                #expect(try user.wait().output == readWhole(lab.source.appending("large0")))
                try node.waitForLog("unmounted")
                #expect(try !node.status().contains("mounts/a"))
            }
        }

        @Test func `when the mount point is deleted from under them`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                // Only where it is no mount point can it be deleted; that ends the mount everywhere.
                try lab.shell(
                    "unshare", "--mount", "--propagation", "private", "sh", "-c",
                    ByteString("umount \(place) && rmdir \(place)"))
                try node.waitForLog("unmounted")
                #expect(try !node.status().contains("serving"))
                _ = try node.mount("b")
            }
        }

        @Test func `when the agent is asked to end under load, where no holder keeps them`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startAgent(["--shutdown-grace-seconds", "1"], holding: false)
                let place = try node.mount()
                let load = try node.startLoad(on: place, seconds: 600)
                usleep(500_000)
                try node.agent.kill(SIGTERM)
                #expect(try node.agent.wait(seconds: 20).status == 0)
                #expect(node.log.contains("was still in use"))
                #expect(try HostFileSystem().list(place).isEmpty)
                load.kill(SIGTERM)
                _ = try load.wait()
            }
        }

        @Test
        func `dead, where the agent is killed and no holder keeps them, and the next one says what to do`()
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startAgent(holding: false)
                let place = try node.mount()
                try node.agent.kill()
                _ = try node.agent.wait()
                #expect(throws: Errno(rawValue: ENOTCONN)) {
                    try HostFileSystem().status(of: place.appending("large0"))
                }
                try node.startAgent(holding: false)
                let refused = try lab.run(["kaml", "mount", "data", place])
                #expect(refused.status != 0 && refused.errors.contains("kaml umount"), "\(refused)")
                try lab.kaml("umount", place)
                _ = try node.mount()
            }
        }
    }

    @Suite(.serialized) struct `An agent has its place to itself` {
        @Test func `a second one on the same cache or socket is refused in words`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startAgent(holding: false)
                let first = try node.agent
                let sameSocket = try node.launchAgent(
                    ["--cache-directory", lab.path("other")], holding: false
                )
                .wait()
                #expect(
                    sameSocket.status != 0 && sameSocket.errors.contains("\(node.socket)"), "\(sameSocket)")
                let sameCache = try node.launchAgent(
                    ["--admin-socket", lab.path("run/b.sock")], holding: false
                )
                .wait()
                #expect(sameCache.status != 0 && sameCache.errors.contains("\(node.cache)"), "\(sameCache)")
                #expect(sameCache.errors.contains("\(first.process)"), "\(sameCache)")
                #expect(first.poll() == nil)
                _ = try node.mount()
            }
        }

        @Test func `other users are refused at its socket`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startAgent(holding: false)
                let stranger = try lab.run(
                    LabNode.withoutPrivileges + ["kaml", "status", "--agent", node.socket])
                #expect(
                    stranger.status != 0 && stranger.errors.contains("belongs to another user"), "\(stranger)"
                )
            }
        }
    }
}

extension LabNode {
    /// Whether a process has a file of the mount open.
    func isUsed(_ place: ByteString, by program: RunningProgram) throws -> Bool {
        var target = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/\(program.process)/fd/0", &target, target.count)
        let text = String(
            decoding: target.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.hasPrefix("\(place)/")
    }
}
