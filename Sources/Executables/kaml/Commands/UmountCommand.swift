import ArgumentParser
import FoundationEssentials
import FuseMount
import KamlCommand
import KamlProtos
import KamlRPC
import System

/// `kaml umount`.
struct UmountCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "umount", abstract: "Unmount a snapshot.",
        discussion: """
              kaml umount /mnt/imagenet
              kaml umount --lazy /mnt/imagenet      takes it out of the tree; open files work until they are closed
              kaml umount --all                     all snapshots of this machine, the agent's and others
            """)

    @Argument(help: "Where it is mounted.", completion: .directory)
    var mountPoint: String?
    @Flag(help: "All snapshots that are mounted. One that cannot be unmounted keeps none of the others.")
    var all = false
    @Flag(help: "Also when something still uses it, or its process is gone.")
    var lazy = false
    @OptionGroup var agent: AgentUse
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (mountPoint != nil) != all else { throw ValidationError("name a mount point, or give --all") }
    }

    func run() throws {
        guard let mountPoint else { return try unmountAll() }
        let path = try CachePlace.absolute(RawArguments.bytes(of: mountPoint))
        try unmount(path, asksAgent: try agent.isWanted)
        // Like umount(8) it says nothing to a person when all is well.
        guard output.format != .table else { return }
        var object = OutputObject()
        object.set("mountPoint", CanonicalPath.of(path))
        answer(Done("", object.value))
    }

    private func unmount(_ path: ByteString, asksAgent: Bool) throws {
        if asksAgent, try isAgents(path) { return }
        try Mounter.unmount(path, lazily: lazy)
    }

    private func unmountAll() throws {
        let asksAgent = try agent.isWanted
        var places: [ByteString] = []
        // What was mounted last may lie in what was mounted before it.
        for entry in try MountTable.read().reversed()
        where entry.type == Mounter.fileSystemType && !places.contains(entry.mountPoint) {
            places.append(entry.mountPoint)
        }
        var done: [ByteString] = []
        var failures: [Failure] = []
        for place in places {
            do {
                try unmount(place, asksAgent: asksAgent)
                done.append(place)
            } catch { failures.append(Failure(error)) }
        }
        let values = done.map { place -> OutputValue in
            var object = OutputObject()
            object.set("mountPoint", place)
            return object.value
        }
        answer(Done("\(CountText.of(UInt64(done.count), "mount")) unmounted", ["unmounted": .list(values)]))
        guard var failure = failures.first else { return }
        if failures.count > 1 { failure.why = "\(failures.count - 1) more could not be unmounted either" }
        throw failure
    }

    /// Has the agent unmount what it mounted; false for a mount that another process serves.
    private func isAgents(_ path: ByteString) throws -> Bool {
        var request = Kaml_Agent_V1_UnmountRequest()
        // As the agent was told it: a mount that hangs is not to be looked at.
        let parts = path.bytes.lastIndex(of: UInt8(ascii: "/")).map { path.bytes.prefix($0) } ?? []
        let parent = parts.isEmpty ? ByteString("/") : CanonicalPath.of(ByteString(Array(parts)))
        request.mountPoint = Data(
            parent.appending(ByteString(Array(path.bytes.dropFirst(parts.count + 1)))).bytes)
        request.lazy = lazy
        let asked = request
        do { _ = try agent.agent.call { try await $0.unmount(asked) } } catch let failure as Failure {
            guard failure.status == .notFound else { throw failure }
            return false
        }
        return true
    }
}
