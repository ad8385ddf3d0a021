import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// The store cannot be reached for a while.
    @Suite struct Outages {
        /// How long the store is away.
        private static let outage = isStress ? 600 : 20

        @Test(arguments: [FaultProxy.Absence.refuse, .hang])
        func `cached files need no store, others wait and then fail, and all is well when it is back`(
            how: FaultProxy.Absence
        ) async throws {
            let proxy = try FaultProxy(try S3Server.shared(.rgw))
            try await inLab(seconds: Self.outage + 240) { lab in
                try lab.makeSmallTree()
                lab.use(proxy.server, through: proxy)
                try lab.kaml("store", "init")
                var random = SplitMix64(seed: 9)
                for number in 0..<8 {
                    try writeWhole(
                        lab.source.appending(ByteString("cold-\(number)")), random.bytes(1_500_000))
                }
                try lab.commit()
                let mount = try lab.mount()
                let warm = ["large", "folder/text"].map { ByteString($0) }
                for name in warm { try lab.shell("cat", mount.path(name)) }
                // Names are known from here on, as they are to whoever works in the tree.
                _ = try lab.shell("find", mount.path, "-size", "+0")

                try proxy.goDown(how)
                let waiting = try (0..<8).map {
                    try lab.start(["cat", mount.path(ByteString("cold-\($0)"))])
                }
                let clock = HostClock()
                let start = clock.monotonicNanoseconds()
                var reads = 0
                while clock.monotonicNanoseconds() - start < UInt64(Self.outage) * 1_000_000_000 {
                    let took = try seconds {
                        try lab.shell("sh", "-c", "echo 1 > /proc/sys/vm/drop_caches")
                        for name in warm {
                            #expect(try firstDifference(lab.source.appending(name), mount.path(name)) == nil)
                        }
                        _ = try lab.shell("find", mount.path, "-size", "+0")
                    }
                    #expect(took < 5, "what is cached came after \(took) s")
                    reads += 1
                    usleep(500_000)
                }
                #expect(reads > 2)
                // Long enough for the patience of a read that began with the outage.
                for program in waiting {
                    let ended = try program.wait(seconds: 90)
                    #expect(
                        ended.status == 1 && ended.errors.contains("Input/output error"), "\(ended.errors)")
                }
                try proxy.comeUp()
                var found = ["not read"]
                let recovery = try seconds { found = try differences(lab.source, mount.path) }
                #expect(found == [])
                #expect(recovery < 30, "it took \(recovery) s")
                try mount.unmount()
            }
        }

        @Test func `a read that waits for a store which comes back in time is a slow read`() async throws {
            let proxy = try FaultProxy(try S3Server.shared(.rgw))
            try await inLab { lab in
                try lab.makeSmallTree()
                lab.use(proxy.server, through: proxy)
                try lab.kaml("store", "init")
                try lab.commit()
                let mount = try lab.mount()
                try proxy.goDown(.refuse)
                let reader = try lab.start(["cat", mount.path("large")])
                sleep(4)
                #expect(reader.poll() == nil, "it waits")
                try proxy.comeUp()
                let ended = try reader.wait(seconds: 40)
                #expect(ended.status == 0, "\(ended.errors)")
                #expect(ended.output == (try readWhole(lab.source.appending("large"))))
                try mount.unmount()
            }
        }

        /// What is slow for all is how the network is; an answer that is slow where others run is given up, and its rest
        /// asked for again.
        @Test func `an answer that trickles where others run is asked for again`() async throws {
            let proxy = try FaultProxy(try S3Server.shared(.rgw))
            try await inLab { lab in
                lab.use(proxy.server, through: proxy)
                try lab.kaml("store", "init")
                var random = SplitMix64(seed: 6)
                for number in 0..<8 {
                    try writeWhole(
                        lab.source.appending(ByteString("file-\(number)")), random.bytes(4_000_000))
                }
                try lab.commit()
                let mount = try lab.mount()
                for number in 0..<7 { try lab.shell("cat", mount.path(ByteString("file-\(number)"))) }
                try proxy.damage("trickle", "^GET .*/packs/", count: 1, argument: 1000)
                var found = ["not read"]
                let took = try seconds { found = try differences(lab.source, mount.path) }
                #expect(found == [])
                #expect(took < 30, "it took \(took) s")
                #expect(try proxy.takeCounters()["fault trickle"] == 1)
                try mount.unmount()
            }
        }

        /// Latency per request, not bandwidth: one slow object must not hold up the others.
        @Test func `an object whose answers hang does not hold up other files`() async throws {
            let proxy = try FaultProxy(try S3Server.shared(.rgw))
            try await inLab { lab in
                lab.use(proxy.server, through: proxy)
                try lab.kaml("store", "init")
                var random = SplitMix64(seed: 4)
                try HostFileSystem().makeDirectory(lab.source.appending("slow"), mode: 0o755)
                try writeWhole(lab.source.appending("slow/file"), random.bytes(3_000_000))
                try lab.commit()
                try writeWhole(lab.source.appending("quick"), random.bytes(3_000_000))
                try lab.commit()
                let mount = try lab.mount()
                try proxy.damage("hang", "^GET .*/packs/")
                let stuck = try lab.start(["cat", mount.path("slow/file")])
                var hanging = 0
                let isStuck = try until(seconds: 10) {
                    hanging += try proxy.takeCounters()["fault hang"] ?? 0
                    return hanging > 0
                }
                #expect(isStuck)
                // What hangs goes on hanging; new requests are answered.
                try proxy.heal()
                var difference: String? = "not read"
                let took = try seconds {
                    difference = try firstDifference(lab.source.appending("quick"), mount.path("quick"))
                }
                #expect(difference == nil)
                #expect(took < 5, "it took \(took) s")
                _ = try stuck.wait(seconds: 60)
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }
    }
}
