import Glibc
import KamlTestSupport
import System
import Testing

extension OnMounts {
    /// kill -9 of the mount: its cache keeps what it has, and the next mount reads right.
    @Suite struct Kills {
        /// Chunks that the cache's maps say are there, and all chunks of those packs.
        private static func chunks(_ lab: Lab) throws -> (present: Int, all: Int) {
            var (present, all) = (0, 0)
            let containers = lab.path("cache").appending("containers")
            for folder in (try? names(containers)) ?? [] {
                for name in try names(containers.appending(folder))
                where name.bytes.suffix(4) == [46, 109, 97, 112] {
                    let map = try readWhole(containers.appending(folder).appending(name))
                    guard map.count >= 128 else { continue }
                    let count = (0..<4).reduce(0) { $0 | Int(map[100 + $1]) << (8 * $1) }
                    all += count
                    // Pairs of words of 64 chunks: present, then trusted.
                    for chunk in 0..<count {
                        let at = 128 + chunk / 64 * 16 + chunk % 64 / 8
                        if at < map.count, map[at] >> UInt8(chunk % 8) & 1 != 0 { present += 1 }
                    }
                }
            }
            return (present, all)
        }

        @Test(
            arguments: ["pwrite64", "ftruncate", "rename", "mkdir", "fsync", "unlink", "write", "openat"]
                as [ByteString])
        func `a cache fill that is killed at any call loses and breaks nothing`(call: ByteString) async throws
        {
            try await inLab(seconds: 600) { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                var number = 1
                while true {
                    try lab.shell("rm", "-rf", lab.path("cache"))
                    let inject = ByteString("inject=\(call):signal=KILL:when=\(number)")
                    let trace = ByteString("trace=\(call)")
                    let tracer: [ByteString] = [
                        "strace", "-f", "-qq", "-o", "/dev/null", "-e", trace, "-e", inject,
                    ]
                    let mount = try lab.startMount("data", ["--profile", "small"], tracer: tracer)
                    guard
                        try until(
                            seconds: 30,
                            { mount.log.contains("is mounted on") || mount.program.poll() != nil })
                    else { throw Trouble("neither mounted nor killed: \(mount.log)") }
                    // Fails where the mount is killed; whoever reads must get an error or the right bytes.
                    let read = try lab.run(["diff", "-r", "--no-dereference", lab.source, mount.path])
                    #expect(!read.text.contains("differ"), "at \(call) \(number): \(read)")
                    _ = try lab.run(["umount", mount.path])
                    let status = try mount.program.wait(seconds: 30).status
                    mount.clear()
                    #expect(status == 0 || status == -SIGKILL, "\(mount.log)")

                    let present = try Self.chunks(lab).present
                    let verified = (try? lab.cacheCounter("verified_chunks")) ?? 0
                    let next = try lab.mount()
                    let found = try differences(lab.source, next.path)
                    #expect(found == [], "after a kill at \(call) \(number)")
                    try next.unmount()
                    let all = try Self.chunks(lab)
                    #expect(all.present == all.all)
                    let again = try lab.cacheCounter("verified_chunks") - verified
                    #expect(again <= all.all - present, "fetched again after a kill at \(call) \(number)")
                    if status == 0 { return }
                    number += isStress ? 1 : call == "openat" ? 31 : 5
                }
            }
        }

        @Test func `kill -9 at random moments under load: the next mount works and every byte is right`()
            async throws
        {
            try await inLab(seconds: 600) { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let seed = SeededRandom.explorationSeed()
                print("kills under load: KAML_TEST_SEED=\(seed)")
                var random = SplitMix64(seed: seed)
                for round in 0..<(isStress ? 100 : 30) {
                    // An empty cache now and then: else it would all be there after the first rounds.
                    if round % 4 == 0 { try lab.shell("rm", "-rf", lab.path("cache")) }
                    let profile: ByteString = round % 2 == 0 ? "large" : "small"
                    let mount = try lab.mount("data", ["--profile", profile])
                    let readers = try lab.startReaders(
                        of: mount.path, count: 2, reads: nil, seed: seed &+ UInt64(round * 2))
                    usleep(UInt32.random(in: 0...200_000, using: &random))
                    try mount.crash()
                    for reader in readers {
                        let ended = try reader.wait(seconds: 20)
                        #expect(ended.status == 0, "seed \(seed), round \(round): \(ended)\(mount.log)")
                    }
                }
                #expect(try lab.isSound("data", equals: lab.source) == [])
                let mount = try lab.mount()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        @Test func `after an unclean reboot what did not reach the disk is read again`() async throws {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let first = try lab.mount()
                #expect(try differences(lab.source, first.path) == [])
                // Killed, so that the cache is not marked clean.
                try first.crash()
                let containers = lab.path("cache").appending("containers")
                for folder in try names(containers) {
                    for name in try names(containers.appending(folder)) {
                        let path = containers.appending(folder).appending(name)
                        let file = try FileDescriptor.open(path, O_RDWR)
                        if name.bytes.suffix(4) == [46, 109, 97, 112] {
                            // The boot id is another one after a reboot.
                            try [UInt8](repeating: 0xAB, count: 16).withUnsafeBytes {
                                try file.write($0, at: 16)
                            }
                        } else {
                            // Pages in the middle that were never written back.
                            let size = try file.status().size
                            try [UInt8](repeating: 0, count: Int(size / 3)).withUnsafeBytes {
                                try file.write($0, at: size / 3)
                            }
                        }
                    }
                }
                let second = try lab.mount()
                #expect(try differences(lab.source, second.path) == [])
                try second.unmount()
                #expect(try lab.cacheCounter("rejected_chunks") > 0)
                #expect(try lab.run(["kaml", "check", "--cache-dir", lab.path("cache")]).status == 0)
            }
        }
    }
}
