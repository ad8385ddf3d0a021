import Glibc
import Synchronization
import System
import Testing

/// A node in a lab: a mount holder, agents that come and go, and what they mount. On plain threads only.
final class LabNode: Sendable {
    let lab: Lab
    let mounts: ByteString
    let cache: ByteString
    let socket: ByteString
    let holderSocket: ByteString
    private let state = Mutex(State())

    private struct State {
        var holder: RunningProgram?
        var agent: RunningProgram?
        var starts = 0
    }

    /// Of the user nobody, without any capability, and without a way to get one.
    static let withoutPrivileges: [ByteString] = [
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all",
    ]

    /// With a snapshot of large and small files, as `data`.
    init(_ lab: Lab) throws {
        self.lab = lab
        mounts = lab.path("mounts")
        cache = lab.path("cache")
        let run = lab.path("run")
        socket = run.appending("agent.sock")
        holderSocket = run.appending("holder.sock")
        for folder in [mounts, cache, run] { try HostFileSystem().makeDirectory(folder, mode: 0o755) }
        lab.set(["KAML_AGENT_SOCKET": "\(socket)"])
        try AgentTree.write(to: lab.source)
        try lab.kaml("store", "init")
        try lab.commit()
    }

    func place(_ name: ByteString) throws -> ByteString {
        let place = mounts.appending(name)
        try? HostFileSystem().makeDirectory(place, mode: 0o755)
        lab.willMount(place)
        return place
    }

    // MARK: - The holder

    var holder: RunningProgram { get throws { try #require(state.withLock { $0.holder }) } }

    func startHolder(user: ByteString = "0") throws {
        let program = try lab.start([
            "kamld-holder", "--socket", holderSocket, "--agent-user", user, "--allow-under", mounts,
        ])
        state.withLock { $0.holder = program }
        guard try until(seconds: 20, { (try? MessageSocket.connect(to: holderSocket)) != nil }) else {
            throw Trouble("no holder: \(program.errors)")
        }
    }

    // MARK: - The agent

    var agent: RunningProgram { get throws { try #require(state.withLock { $0.agent }) } }
    var log: String { (try? agent.errors) ?? "" }

    /// Starts an agent that mounts through the holder; does not wait for it.
    @discardableResult
    func launchAgent(
        _ options: [ByteString] = [], wrapper: [ByteString] = [], holding: Bool = true
    ) throws -> RunningProgram {
        var words = wrapper + ["kamld", "agent", "--admin-socket", socket, "--cache-directory", cache]
        words += ["--http-listen", "off", "--stores-main-url", ByteString("file://\(lab.store)")]
        if holding { words += ["--holder-socket", holderSocket] }
        let program = try lab.start(words + options)
        state.withLock { $0.agent = program }
        return program
    }

    func startAgent(
        _ options: [ByteString] = [], wrapper: [ByteString] = [], holding: Bool = true
    ) throws {
        let program = try launchAgent(options, wrapper: wrapper, holding: holding)
        guard
            try until(seconds: 30, { program.errors.contains("the agent serves") || program.poll() != nil }),
            program.poll() == nil
        else { throw Trouble("no agent: \(program.errors)") }
    }

    /// kill -9, and a new one; returns when the old one is gone.
    func replaceAgent(by signal: Int32 = SIGKILL) throws {
        let old = try agent
        old.kill(signal)
        let ended = try old.wait(seconds: 30)
        #expect(ended.status == (signal == SIGKILL ? -SIGKILL : 0), "\(ended)")
        try startAgent()
    }

    /// SIGSTOP; returns when every thread stands still. One that had a request in hand would keep its sender from being
    /// killed.
    func stopAgent() throws {
        let process = try agent.process
        try agent.kill(SIGSTOP)
        let threads = ByteString("/proc/\(process)/task")
        let areStopped = try until(seconds: 10) {
            try HostFileSystem().list(threads).allSatisfy { thread in
                let stat = try readWhole(threads.appending(thread.name).appending("stat"))
                return String(decoding: stat, as: UTF8.self).split(separator: ")").last?.hasPrefix(" T")
                    == true
            }
        }
        guard areStopped else { throw Trouble("the agent does not stop") }
    }

    /// Waits until the agent has said something.
    func waitForLog(_ text: String, seconds: Int = 20) throws {
        guard try until(seconds: seconds, { log.contains(text) }) else {
            throw Trouble("the agent never said \"\(text)\": \(log)")
        }
    }

    func mount(_ name: ByteString = "a", _ options: ByteString...) throws -> ByteString {
        let place = try place(name)
        let ended = try lab.run(["kaml", "mount", "data", place] + options)
        guard ended.status == 0 else { throw Trouble("no mount: \(ended)\n\(log)") }
        return place
    }

    func status() throws -> String { try lab.kaml("status").text }

    // MARK: - Load

    /// Readers that compare the mount with its source.
    func startLoad(on place: ByteString, seconds: Int) throws -> RunningProgram {
        try lab.start([
            "kaml-bench", "verifyload", "--mount", place, "--source", lab.source, "--seconds",
            ByteString("\(seconds)"),
        ])
    }

    /// Ends the load, which must have met no error, no wrong byte and no read that never ends.
    func endLoad(_ load: RunningProgram, sourceLocation: SourceLocation = #_sourceLocation) throws {
        load.kill(SIGTERM)
        let ended = try load.wait(seconds: 60)
        #expect(ended.status == 0, "\(ended)", sourceLocation: sourceLocation)
        for nothing in [#""errors": 0"#, #""wrong": 0"#, #""hung": 0"#] {
            #expect(ended.text.contains(nothing), "\(ended)", sourceLocation: sourceLocation)
        }
        #expect(!ended.text.contains(#""reads": 0,"#), "\(ended)", sourceLocation: sourceLocation)
    }

    /// A program that reads all of a file, so that the test itself never waits for a mount.
    func startReading(_ file: ByteString) throws -> RunningProgram {
        try lab.start(["cat", file])
    }
}

/// What the agent's tests mount.
enum AgentTree {
    static func write(to directory: ByteString) throws {
        let files = HostFileSystem()
        for folder in 0..<4 {
            let place = directory.appending(ByteString("dir\(folder)"))
            try files.makeDirectory(place, mode: 0o755)
            for number in 0..<20 {
                try writeWhole(
                    place.appending(ByteString("small\(number)")),
                    bytes(seed: UInt8(folder * 20 + number), count: 500 + number * 700))
            }
        }
        for number in 0..<2 {
            try writeWhole(
                directory.appending(ByteString("large\(number)")),
                bytes(seed: UInt8(200 + number), count: 20 << 20))
        }
    }

    static func bytes(seed: UInt8, count: Int) -> [UInt8] {
        var state = UInt64(seed) &+ 1
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
    }
}
