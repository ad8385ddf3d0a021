import FuseMount
import Glibc
import MountHolder
import System
import Testing

extension OnMounts {
    /// Holders that go away, and mounts that cannot be gone on with.
    @Suite(.serialized) struct `An agent and its mount holder` {
        @Test func `without the holder nothing new is mounted, and what is there is served`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                try node.holder.kill()
                _ = try node.holder.wait()
                try node.waitForLog("holderAway")
                let refused = try lab.run(["kaml", "mount", "data", try node.place("b")])
                #expect(refused.status != 0 && refused.errors.contains("start kamld-holder"), "\(refused)")
                #expect(try lab.kaml("status").text.contains("cannot be reached"))
                try lab.shell("cmp", place.appending("large0"), lab.source.appending("large0"))
                // The new one gets what the old one had, in time for the next crash.
                try node.startHolder()
                try node.waitForLog("holderBack")
                _ = try node.mount("b")
                try node.replaceAgent()
                try lab.shell("cmp", place.appending("large1"), lab.source.appending("large1"))
                #expect(try node.status().split(separator: "\n").count { $0.contains("serving") } == 2)
            }
        }

        @Test func `a holder that does not answer is waited for seconds, not for ever`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                try node.holder.kill(SIGSTOP)
                let started = HostClock().monotonicNanoseconds()
                let refused = try lab.run(["kaml", "mount", "data", try node.place("a")])
                #expect(refused.status != 0 && refused.errors.contains("the mount holder at"), "\(refused)")
                #expect(HostClock().monotonicNanoseconds() - started < 20_000_000_000)
                try node.holder.kill(SIGCONT)
                try node.waitForLog("holderBack", seconds: 30)
                _ = try node.mount("b")
            }
        }

        @Test func `an agent without a holder to ask starts when there is one`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.launchAgent()
                try node.waitForLog("holderAway")
                let refused = try lab.run(["kaml", "mount", "data", try node.place("a")])
                #expect(refused.status != 0 && refused.errors.contains("start kamld-holder"), "\(refused)")
                try node.startHolder()
                try node.waitForLog("the agent serves")
                _ = try node.mount("b")
            }
        }

        @Test func `a mount whose store is away waits, is told, and goes on when the store is back`()
            async throws
        {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                try node.agent.kill()
                _ = try node.agent.wait()
                // Neither the store nor what the node knew of it.
                try lab.shell("mv", lab.store, lab.path("away"))
                try lab.shell("rm", "-rf", node.cache)
                try node.startAgent()
                try node.waitForLog("stranded")
                #expect(try node.status().contains("failed"))
                let again = try lab.run(["kaml", "mount", "data", place])
                #expect(again.status != 0 && again.errors.contains("gone on with"), "\(again)")
                let reader = try node.startReading(place.appending("dir1/small1"))
                usleep(300_000)
                #expect(reader.poll() == nil)
                try lab.shell("mv", lab.path("away"), lab.store)
                let ended = try reader.wait(seconds: 30)
                #expect(try ended.output == readWhole(lab.source.appending("dir1/small1")))
                try node.waitForLog("takenOver")
            }
        }

        @Test func `a mount with the store away is served from what the node has`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                try node.startAgent()
                let place = try node.mount()
                try lab.shell("cmp", place.appending("large0"), lab.source.appending("large0"))
                try node.agent.kill()
                _ = try node.agent.wait()
                try lab.shell("mv", lab.store, lab.path("away"))
                try node.startAgent()
                try node.waitForLog("takenOver")
                try lab.shell("cmp", place.appending("large0"), lab.source.appending("large0"))
            }
        }

        @Test func `a mount that another build made is kept, told, and can be given up`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                try node.startHolder()
                let place = try node.place("strange")
                do {
                    let client = try HolderClient(socket: node.holderSocket)
                    let options = MountOptions(
                        mountPoint: place, source: "kaml:strange@main", allowOther: true)
                    // Field 1, the version, is 99.
                    _ = try client.attach(options, description: [0x08, 99])
                }
                try node.startAgent()
                try node.waitForLog("stranded")
                #expect(node.log.contains("version 99"))
                let reader = try lab.start(["ls", place])
                usleep(200_000)
                #expect(reader.poll() == nil)
                try lab.kaml("umount", "--lazy", place)
                // Given up: its users get an error instead of waiting.
                #expect(try reader.wait(seconds: 10).status != 0)
                #expect(try !node.status().contains("strange"))
                _ = try node.mount("strange")
            }
        }
    }
}
