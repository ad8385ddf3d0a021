import ArgumentParser
import Glibc
import MountHolder
import System

/// `kamld-holder`: makes mounts for the agent and keeps their connections with the kernel while it is away.
@main
struct Holder: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kamld-holder",
        abstract: "Makes the agent's mounts, and keeps them while the agent is away.",
        discussion: """
              kamld-holder --socket /run/kaml/holder.sock --agent-user kaml --allow-under /mnt

            The only part of kaml that needs privileges (CAP_SYS_ADMIN; CAP_DAC_READ_SEARCH to mount below directories
            of others). It must run in the mount namespace that the users of the mounts see. Ends with SIGTERM; the
            mounts stay as long as an agent serves them, or a service manager keeps them (FileDescriptorStoreMax=).
            """)

    @Option(help: "Where it listens.", completion: .file())
    var socket = "/run/kaml/holder.sock"
    @Option(help: .init("Who may ask, by name or number; root always may.", valueName: "user"))
    var agentUser: String?
    @Option(
        help: .init("Mount below this directory only. Can be given again.", valueName: "directory"),
        completion: .directory)
    var allowUnder: [String]

    func validate() throws {
        for directory in allowUnder where !directory.hasPrefix("/") {
            throw ValidationError("--allow-under takes absolute paths, not \(directory)")
        }
        guard !allowUnder.isEmpty else {
            throw ValidationError("say where it may mount: --allow-under /mnt")
        }
        _ = try agent()
    }

    /// The agent's user; root when none is named.
    private func agent() throws -> UInt32 {
        guard let agentUser else { return 0 }
        if let number = UInt32(agentUser) { return number }
        guard let entry = unsafe getpwnam(agentUser) else {
            throw ValidationError(
                "there is no user \(agentUser): create it, or name another with --agent-user")
        }
        return unsafe entry.pointee.pw_uid
    }

    func run() throws {
        // First of all, while no other descriptor has been opened.
        let given = ServiceManager.takeDescriptors()
        let manager = ServiceManager()
        ResourceLimits.raiseDescriptors()
        let ending = try EndingSignals.descriptor()
        let stored = manager.map { StoredMounts($0, notice: Self.say) }
        let kept = stored?.recover(given) ?? []
        if !kept.isEmpty { Self.say("\(kept.count) mounts are back from the service manager") }
        let user = try agent()
        let listener = try ListeningPlace.open(ByteString(socket), for: user)
        let state = HolderState(
            kept: kept,
            privileges: HostPrivileges(allowed: AllowedDirectories(allowUnder.map { ByteString($0) })),
            recording: stored ?? NoRecording(), process: getpid())
        let server = try HolderServer(
            listener: listener, users: [0, user], state: state, ending: ending, notice: Self.say)
        try? manager?.notify(.ready)
        let turn = min((manager?.watchdogMicroseconds ?? 30_000_000) / 1000, 30_000)
        var told = -1
        try server.run(every: Int32(clamping: max(2, turn))) { server in
            if manager?.watchdogMicroseconds != nil { try? manager?.notify(.watchdog) }
            if told != server.heldMounts {
                told = server.heldMounts
                try? manager?.notify(.status("\(told) mounts"))
            }
        }
        try? manager?.notify(.stopping)
        unsafe unlink(socket)
    }

    static func say(_ text: String) {
        let line = Array("kamld-holder: \(text)\n".utf8)
        // Nobody to tell that nobody can be told.
        _ = unsafe write(STDERR_FILENO, line, line.count)
    }
}
