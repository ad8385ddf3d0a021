import Glibc
import KamlTestSupport
import Synchronization
import System
import Testing

/// The long versions of the fault loops run with KAML_STRESS=1.
let isStress = getenv("KAML_STRESS") != nil

/// Mounts need root and /dev/fuse.
let canMount = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0

/// Everything that mounts: one at a time, so that a slow mount of one test is not the timeout of another.
@Suite(.serialized, .enabled(if: canMount, "needs root and /dev/fuse"))
struct OnMounts {}

/// Runs a test on a plain thread, in a directory of its own. Whatever happens, programs end, mounts go away, and
/// the whole is over after `seconds`.
func inLab(seconds: Int = 120, _ body: @escaping @Sendable (Lab) throws -> Void) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        do {
            try Thread(name: "test", stackBytes: 16 << 20) {
                continuation.resume(
                    with: Result {
                        let lab = try Lab()
                        defer { lab.cleanUp() }
                        try lab.guarding(seconds: seconds) { try body(lab) }
                    })
            }.detach()
        } catch {
            continuation.resume(throwing: error)
        }
    }
}

/// A directory, a store in it, and what works on them.
final class Lab: Sendable {
    let directory: ByteString
    let store: ByteString
    let source: ByteString
    private let temporary: TemporaryDirectory
    private let scratch: ByteString
    /// Where this package's programs lie.
    private let tools: ByteString
    private let state = Mutex<State>(State())

    private struct State {
        var programs: [RunningProgram] = []
        var mountPoints: [ByteString] = []
        var environment: [String: String] = [:]
        var isOver = false
    }

    init() throws {
        temporary = try TemporaryDirectory()
        directory = temporary.path
        store = directory.appending("store")
        source = directory.appending("source")
        scratch = directory.appending("scratch")
        let binary = try Self.findBinary()
        tools = ByteString(Array(binary.bytes[..<(binary.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)]))
        for folder in [source, scratch] { try HostFileSystem().makeDirectory(folder, mode: 0o755) }
    }

    func path(_ name: ByteString) -> ByteString { directory.appending(name) }

    private static func findBinary() throws -> ByteString {
        if let named = getenv("KAML_BIN") { return ByteString(String(cString: named)) }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let runner = buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
        let beside = ByteString(Array(runner[..<(runner.lastIndex(of: UInt8(ascii: "/")) ?? 0)])).appending(
            "kaml")
        for candidate in [beside, ".build/release/kaml", ".build/debug/kaml"] as [ByteString]
        where (try? HostFileSystem().status(of: candidate)) != nil {
            return candidate
        }
        throw Trouble("no kaml to test: build it, or name it with KAML_BIN")
    }

    // MARK: - Programs

    /// Sets variables for every program that is started from now on.
    func set(_ variables: [String: String]) {
        state.withLock { $0.environment.merge(variables) { $1 } }
    }

    private static let programs: Set<ByteString> = ["kaml", "kamld", "kamld-holder", "kaml-bench"]

    /// Where a program of this package lies.
    func program(_ name: ByteString) -> ByteString { tools.appending(name) }

    /// Starts any program; those of this package are the ones under test.
    func start(_ words: [ByteString], environment: [String: String] = [:]) throws -> RunningProgram {
        var variables = [
            "KAML_STORE": "\(store)", "HOME": "\(directory)", "XDG_CACHE_HOME": "\(path("xdg"))",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC",
        ]
        variables.merge(state.withLock { $0.environment }) { $1 }
        variables.merge(environment) { $1 }
        let program = try RunningProgram(
            words.map { Self.programs.contains($0) ? tools.appending($0) : $0 }, environment: variables,
            scratch: scratch)
        state.withLock { $0.programs.append(program) }
        return program
    }

    @discardableResult
    func run(_ words: [ByteString], environment: [String: String] = [:], seconds: Int = 60) throws -> Ended {
        try start(words, environment: environment).wait(seconds: seconds)
    }

    /// Runs kaml, which must succeed.
    @discardableResult
    func kaml(_ words: ByteString...) throws -> Ended {
        let ended = try run(["kaml"] + words)
        guard ended.status == 0 else { throw Trouble("kaml \(words): \(ended)") }
        return ended
    }

    /// Runs any program, which must succeed.
    @discardableResult
    func shell(_ words: ByteString...) throws -> Ended {
        let ended = try run(words)
        guard ended.status == 0 else { throw Trouble("\(words): \(ended)") }
        return ended
    }

    /// Commits a directory and gives the snapshot's id.
    @discardableResult
    func commit(_ directory: ByteString? = nil, to dataset: ByteString = "data") throws -> String {
        let text = try kaml("commit", dataset, directory ?? source, "-o", "json").text
        let parts = text.split(separator: "\"")
        guard let key = parts.firstIndex(of: "snapshot"), key + 2 < parts.endIndex else {
            throw Trouble("a commit without a snapshot: \(text)")
        }
        return String(parts[key + 2])
    }

    // MARK: - Mounts

    /// Remembers a mount point for the clean-up.
    func willMount(_ path: ByteString) { state.withLock { $0.mountPoints.append(path) } }

    /// A tmpfs of this size, to be filled up.
    func smallFileSystem(_ name: ByteString, options: ByteString) throws -> ByteString {
        let place = path(name)
        try HostFileSystem().makeDirectory(place, mode: 0o755)
        willMount(place)
        try shell("mount", "-t", "tmpfs", "-o", options, "none", place)
        return place
    }

    // MARK: - The end

    private final class Watch: Sendable { let isDone = Atomic(false) }

    /// At the deadline all programs are killed, which ends whatever waits for them or for a mount of theirs.
    fileprivate func guarding(seconds: Int, _ body: () throws -> Void) throws {
        let clock = HostClock()
        let deadline = clock.monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
        let watch = Watch()
        try Thread(name: "deadline") { [self] in
            while !watch.isDone.load(ordering: .acquiring) {
                if clock.monotonicNanoseconds() > deadline { return endAll() }
                usleep(50_000)
            }
        }.detach()
        defer { watch.isDone.store(true, ordering: .releasing) }
        do { try body() } catch {
            throw clock.monotonicNanoseconds() > deadline
                ? Trouble("not done within \(seconds) s: \(error)") : error
        }
    }

    private func endAll() {
        for program in state.withLock({ $0.programs }) { program.kill() }
    }

    fileprivate func cleanUp() {
        for place in state.withLock({ $0.mountPoints }).reversed() {
            _ = try? run(["umount", "-l", "-q", place], seconds: 10)
        }
        endAll()
        for program in state.withLock({ $0.programs }) { _ = try? program.wait(seconds: 5) }
        // Not left to the last owner: that may be a thread which the end of the process cuts off.
        TemporaryDirectory.remove(directory)
    }
}
