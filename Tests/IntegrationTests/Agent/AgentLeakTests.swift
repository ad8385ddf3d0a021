import Glibc
import System
import Testing

extension OnMounts {
    @Suite(.serialized) struct `Mounting and unmounting again and again` {
        @Test(arguments: [true, false]) func `leaks no descriptor, thread or memory`(
            _ holding: Bool
        )
            async throws
        {
            try await inLab(seconds: isStress ? 7200 : 240) { lab in
                let node = try LabNode(lab)
                if holding { try node.startHolder() }
                try node.startAgent(holding: holding)
                let place = try node.place("a")
                func cycles(_ count: Int) throws {
                    let ended = try lab.run(
                        [
                            "sh", "-c",
                            """
                            for i in $(seq $1); do
                              "$2" mount data "$3" && cat "$3/dir1/small3" >/dev/null && "$2" umount "$3" || exit 1
                            done >/dev/null
                            """,
                            "cycles", ByteString("\(count)"), "kaml", place,
                        ], seconds: 7000)
                    guard ended.status == 0 else { throw Trouble("\(ended)\n\(node.log)") }
                }
                try cycles(20)
                let before = try node.footprint(holding)
                try cycles(isStress ? 10_000 : 150)
                // The last mount's end may still be under way.
                let isClean = try until(seconds: 20) { try node.footprint(holding).isNoMore(than: before) }
                let after = try node.footprint(holding)
                #expect(isClean, "\(before) became \(after)")
            }
        }
    }
}

/// What processes and the kernel hold.
struct Footprint: CustomStringConvertible {
    var agentDescriptors: Int
    var agentThreads: Int
    var agentKilobytes: Int
    /// A connection with the kernel lives as long as a descriptor of it, or a mount.
    var holderDescriptors: Int

    /// Memory may grow by what allocators keep.
    func isNoMore(than other: Footprint) -> Bool {
        agentDescriptors <= other.agentDescriptors && agentThreads <= other.agentThreads
            && agentKilobytes <= other.agentKilobytes + 4096 && holderDescriptors <= other.holderDescriptors
    }

    var description: String {
        "\(agentDescriptors) descriptors, \(agentThreads) threads, \(agentKilobytes) KiB; holder: \(holderDescriptors) descriptors"
    }
}

extension LabNode {
    func footprint(_ holding: Bool) throws -> Footprint {
        func entries(_ path: String) throws -> Int { try HostFileSystem().list(ByteString(path)).count }
        let process = try agent.process
        let facts = String(decoding: try readWhole(ByteString("/proc/\(process)/status")), as: UTF8.self)
        let anonymous = facts.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return Footprint(
            agentDescriptors: try entries("/proc/\(process)/fd"),
            agentThreads: try entries("/proc/\(process)/task"),
            agentKilobytes: anonymous.flatMap { Int($0.filter(\.isNumber)) } ?? .max,
            holderDescriptors: holding ? try entries("/proc/\(try holder.process)/fd") : 0)
    }
}
