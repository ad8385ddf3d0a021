import Glibc
import System
import Testing

extension OnMounts {
    /// Agents that are killed, stopped and replaced while people read.
    @Suite(.serialized) struct `An agent with a mount holder` {
        @Test func `killed at any moment under load: no error, no wrong byte, nobody hangs`() async throws {
            try await inLab(seconds: isStress ? 3600 : 180) { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let large = try node.mount("large", "--profile", "large")
                let small = try node.mount("small", "--profile", "small")
                let loads = try [large, small].map { try node.startLoad(on: $0, seconds: 3600) }
                for round in 0..<(isStress ? 1000 : 10) {
                    usleep(UInt32.random(in: 0..<300_000))
                    // Every other one while it still starts.
                    if round % 2 == 0 { try node.replaceAgent() } else { try node.killWhileStarting() }
                }
                for load in loads { try node.endLoad(load) }
                let status = try node.status()
                #expect(status.split(separator: "\n").count { $0.contains("serving") } == 2, "\(status)")
            }
        }

        @Test func `restarted in order under load: its users notice nothing`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount("a", "--profile", "large")
                let load = try node.startLoad(on: place, seconds: 600)
                for _ in 0..<3 {
                    usleep(300_000)
                    try node.replaceAgent(by: SIGTERM)
                }
                try node.endLoad(load)
                #expect(node.log.contains("takenOver"))
                // The same asked for again is the same, whoever made it.
                _ = try node.mount("a", "--profile", "large")
                #expect(try lab.run(["kaml", "mount", "data@main~0", place]).status != 0)
            }
        }

        @Test func `has no capability at all`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                // The agent's user owns its cache and its sockets' directory.
                for path in [node.cache, lab.path("run")] { try lab.shell("chown", "65534", path) }
                try node.startHolder(user: "65534")
                try node.startAgent(wrapper: LabNode.withoutPrivileges)
                let place = try node.mount("a", "--profile", "large")
                let load = try node.startLoad(on: place, seconds: 600)
                let facts = String(
                    decoding: try readWhole(ByteString("/proc/\(try node.agent.process)/status")),
                    as: UTF8.self)
                for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                    #expect(facts.contains("\(set):\t0000000000000000\n"), "\(facts)")
                }
                #expect(facts.contains("Uid:\t65534\t65534\t65534\t65534\n"))
                #expect(facts.contains("NoNewPrivs:\t1\n"))
                usleep(500_000)
                try node.endLoad(load)
                // Files registered by the holder, read by the kernel itself.
                #expect(try lab.kaml("status", "-o", "json").text.contains(#""passesThrough": true"#))
                try lab.kaml("umount", place)
            }
        }

        @Test func `stopped by SIGSTOP: readers wait, can be killed, and go on when it goes on`() async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount("a", "--profile", "small")
                let unread = try node.mount("b", "--profile", "small")
                let load = try node.startLoad(on: place, seconds: 600)
                usleep(200_000)
                try node.stopAgent()
                let reader = try node.startReading(unread.appending("dir3/small19"))
                usleep(500_000)
                #expect(reader.poll() == nil)
                reader.kill()
                #expect(try reader.wait(seconds: 5).status == -SIGKILL)
                try node.agent.kill(SIGCONT)
                usleep(200_000)
                try node.endLoad(load)
            }
        }

        @Test func `killed in the middle of a read: the next one answers it`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                let packs = try node.hidePacksBehindPipes()
                let reader = try node.startReading(place.appending("large0"))
                // statfs and umount never wait for a store.
                usleep(300_000)
                #expect(reader.poll() == nil)
                try lab.shell("stat", "-f", place)
                try node.agent.kill()
                _ = try node.agent.wait()
                try packs.bringBack()
                try node.startAgent()
                let ended = try reader.wait(seconds: 30)
                #expect(ended.status == 0)
                #expect(try ended.output == readWhole(lab.source.appending("large0")))
            }
        }

        @Test func `whose store hangs: SIGTERM and umount end all the same`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent(["--shutdown-grace-seconds", "2"])
                let place = try node.mount()
                let packs = try node.hidePacksBehindPipes()
                let reader = try node.startReading(place.appending("large0"))
                usleep(300_000)
                try node.agent.kill(SIGTERM)
                #expect(try node.agent.wait(seconds: 20).status == 0)
                #expect(reader.poll() == nil)
                try node.startAgent()
                try lab.kaml("umount", "--lazy", place)
                #expect(try HostFileSystem().list(place).isEmpty)
                try packs.bringBack()
                // Its file was open: it works on.
                #expect(try reader.wait(seconds: 60).status == 0)
                try node.waitForLog("unmounted")
            }
        }
    }
}

extension LabNode {
    /// Kills the agent, starts another and kills that one soon, then starts one for good.
    func killWhileStarting() throws {
        let old = try agent
        old.kill()
        _ = try old.wait(seconds: 30)
        let young = try launchAgent()
        usleep(UInt32.random(in: 0..<60_000))
        young.kill()
        _ = try young.wait(seconds: 30)
        try startAgent()
    }

    struct HiddenPacks {
        let places: [(pack: ByteString, aside: ByteString)]

        func bringBack() throws {
            for (pack, aside) in places {
                let text = "\(pack)"
                // Opened for both ends it waits for nobody, and wakes whoever waits.
                let both = open(text, O_RDWR | O_NONBLOCK | O_CLOEXEC)
                guard rename("\(aside)", text) == 0 else { throw Errno.last }
                close(both)
            }
        }
    }

    /// Puts pipes in place of the store's packs: whoever opens one waits.
    func hidePacksBehindPipes() throws -> HiddenPacks {
        let root = lab.store.appending("packs")
        var places: [(ByteString, ByteString)] = []
        for folder in try HostFileSystem().list(root) {
            for entry in try HostFileSystem().list(root.appending(folder.name)) {
                let pack = root.appending(folder.name).appending(entry.name)
                let aside = ByteString(pack.bytes + Array(".aside".utf8))
                guard rename("\(pack)", "\(aside)") == 0, mkfifo("\(pack)", 0o666) == 0 else {
                    throw Errno.last
                }
                places.append((pack, aside))
            }
        }
        return HiddenPacks(places: places)
    }
}
