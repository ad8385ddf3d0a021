import Glibc
import System
import Testing

extension OnMounts {
    /// What whoever runs a node asks of its agent.
    @Suite(.serialized) struct `An agent's operator` {
        @Test func `unmounts everything at once`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let places = [try node.mount("a"), try node.mount("b")]
                let own = try node.place("own")
                try lab.kaml("mount", "data", own, "--no-agent", "--cache-dir", lab.path("own-cache"))
                // One that is in use keeps none of the others.
                let busy = try lab.start(["sh", "-c", "cd \"$0\" && exec sleep 60", places[0]])
                // In a mount namespace of its own: what other tests have mounted stays. Mounts of the agent go everywhere.
                func unmountAll() throws -> Ended {
                    let script: ByteString =
                        "\"$0\" umount --all; status=$?; cat /proc/self/mountinfo; exit $status"
                    return try lab.run([
                        "unshare", "-m", "--propagation", "private", "sh", "-c", script, lab.program("kaml"),
                    ])
                }
                func table() throws -> String {
                    String(decoding: try readWhole("/proc/self/mountinfo"), as: UTF8.self)
                }
                let ended = try unmountAll()
                #expect(ended.status != 0 && ended.errors.contains("\(places[0])"), "\(ended)")
                #expect(!String(decoding: ended.output, as: UTF8.self).contains("\(own) "))
                #expect(try table().contains("\(places[0]) "))
                #expect(try !table().contains("\(places[1]) "))
                busy.kill(SIGKILL)
                _ = try busy.wait(seconds: 10)
                let second = try unmountAll()
                #expect(second.status == 0, "\(second)")
                #expect(try !table().contains("\(places[0]) "))
                try lab.kaml("umount", own)
            }
        }

        @Test func `sees what is pinned`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                #expect(try lab.kaml("pin", "--list").text.contains("nothing is pinned"))
                try lab.kaml("pin", "data", "--for", "2h")
                try node.replaceAgent()
                #expect(try lab.kaml("pin", "--list").text.contains("PINNED SNAPSHOT"))
                #expect(try node.status().contains("PINNED SNAPSHOT"))
                #expect(try lab.kaml("pin", "--list", "-o", "json").text.contains("\"until\""))
                try lab.kaml("pin", "data", "--end")
                #expect(try lab.kaml("pin", "--list").text.contains("nothing is pinned"))
                #expect(try !node.status().contains("PINNED"))
            }
        }

        @Test func `finds no socket of an agent that has ended in order`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startAgent(holding: false)
                #expect((try? HostFileSystem().status(of: node.socket)) != nil)
                try node.agent.kill(SIGTERM)
                #expect(try node.agent.wait(seconds: 20).status == 0)
                #expect((try? HostFileSystem().status(of: node.socket)) == nil)
            }
        }

        @Test func `is told of the mount above a mount point, and how to unmount that one`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let above = try node.mount()
                for options in [[], ["--no-agent", "--cache-dir", lab.path("own-cache")]] as [[ByteString]] {
                    let ended = try lab.run(["kaml", "mount", "data", above.appending("dir0")] + options)
                    #expect(ended.status == 4, "\(ended)")
                    #expect(ended.errors.contains("`kaml umount \(above)`"), "\(ended)")
                }
            }
        }

        @Test func `limits its memory to little more than it needs, and reads go on`() async throws {
            try await inLab { lab in
                let group = try MemoryGroup(bytes: 128 << 20)
                defer { group.remove() }
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent(wrapper: [
                    "sh", "-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\"", group.path,
                ])
                let process = try node.agent.process
                let place = try node.mount()
                let load = try node.startLoad(on: place, seconds: 60)
                for _ in 0..<3 {
                    #expect(try differences(lab.source, place) == [])
                    // Fetched again, past what is in the page cache.
                    _ = try lab.run(["kaml", "warm", "data", "--evict"])
                }
                try node.endLoad(load)
                #expect(try node.agent.poll() == nil && node.agent.process == process)
                let used = try #require(group.mostUsed)
                #expect(used > 16 << 20 && used <= 128 << 20, "\(used)")
                try lab.kaml("umount", place)
                try node.agent.kill(SIGTERM)
                _ = try node.agent.wait(seconds: 20)
            }
        }

        @Test func `keeps the memory of an agent without privileges from its user's other programs`()
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try lab.shell("chown", "65534", node.cache, lab.path("run"))
                try node.startHolder(user: "65534")
                try node.startAgent(wrapper: LabNode.withoutPrivileges)
                let process = try node.agent.process
                func tries(_ file: String) throws -> Int32 {
                    let path = ByteString("/proc/\(process)/\(file)")
                    return try lab.run(Array(LabNode.withoutPrivileges) + ["head", "-c", "1", path]).status
                }
                #expect(try tries("status") == 0)
                for file in ["environ", "maps", "mem"] { #expect(try tries(file) != 0, "\(file)") }
            }
        }
    }
}

/// A control group whose processes have little memory, page cache included; of whichever version the machine has.
private struct MemoryGroup {
    let path: ByteString
    private let isUnified: Bool

    init(bytes: Int) throws {
        isUnified = (try? HostFileSystem().status(of: "/sys/fs/cgroup/cgroup.controllers")) != nil
        let root: ByteString = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
        path = root.appending(ByteString("kaml-test-\(getpid())-\(HostClock().monotonicNanoseconds())"))
        try HostFileSystem().makeDirectory(path, mode: 0o755)
        let limit = path.appending(isUnified ? "memory.max" : "memory.limit_in_bytes")
        let file = try FileDescriptor.open(limit, O_WRONLY)
        try Array("\(bytes)".utf8).withUnsafeBytes { try file.write($0, at: 0) }
    }

    /// The most memory that it had.
    var mostUsed: Int? {
        let file = path.appending(isUnified ? "memory.peak" : "memory.max_usage_in_bytes")
        guard let bytes = try? readWhole(file) else { return nil }
        return Int(String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self))
    }

    func remove() { try? HostFileSystem().removeDirectory(path) }
}
