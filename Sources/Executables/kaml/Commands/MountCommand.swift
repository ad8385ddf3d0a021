import Agent
import ArgumentParser
import Chunking
import DatasetStore
import FoundationEssentials
import FuseMount
import FuseSession
import Glibc
import KamlCommand
import KamlProtos
import KamlRPC
import NodeCache
import ObjectStore
import System

extension ProfileChoice: ExpressibleByArgument {}

/// `kaml mount`.
struct MountCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount", abstract: "Mount a snapshot as a read-only file system.",
        discussion: """
              kaml mount imagenet@v2 /mnt/imagenet
              kaml mount imagenet /mnt/imagenet --cache-dir /ssd/kaml --profile large
              kaml mount imagenet /mnt/imagenet --foreground        serves until Ctrl-C or `kaml umount`

            Returns when the mount answers; a process in the background serves it, and writes what it has to say to
            mount-<id>.log in the cache directory. What is read is kept in the cache, so that it is fetched once. The
            cache is --cache-dir, else KAML_CACHE_DIR, else /var/cache/kaml (root) or ~/.cache/kaml.

            SIGINT, SIGTERM or SIGHUP asks the serving process to unmount and end. While files are open it waits for them;
            a second signal takes the mount away from its users. After SIGTERM or SIGHUP it waits 30 seconds at most.
            """)

    @Argument(help: "DATASET[@REF].", completion: NameCompletion.kind)
    var reference: String
    @Argument(help: "An empty directory.", completion: .directory)
    var mountPoint: String
    @Option(help: "Where fetched data is kept.", completion: .directory)
    var cacheDir: String?
    @OptionGroup var cacheKey: CacheKeyOptions
    @Option(
        help: "Tuned for large files (the kernel reads them itself) or small ones (no message for each open)."
    )
    var profile: ProfileChoice = .auto
    @Flag(help: "Serve here instead of in the background.")
    var foreground = false
    @Option(help: "Threads that serve the kernel.")
    var threads: Int = FuseSession.defaultWorkers
    @Option(help: .init("How far the kernel reads ahead, in KiB (root only).", valueName: "KiB"))
    var readAhead: Int = defaultReadAhead
    private static let defaultReadAhead = 4096
    @Flag(help: "Mount over a directory that has entries, which hides them.")
    var allowNonEmpty = false
    @Flag(inversion: .prefixedNo, help: "Let other users in (default for root).")
    var allowOther: Bool?
    @Option(name: .customLong("ready-descriptor"), help: .private)
    var readyDescriptor: Int32?
    @OptionGroup var agent: AgentUse
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...256).contains(threads) else { throw ValidationError("--threads is 1 to 256") }
        guard (0...1 << 20).contains(readAhead) else { throw ValidationError("--read-ahead is 0 to 1048576") }
    }

    func run() throws {
        guard let readyDescriptor else {
            if try !foreground && agent.isWanted { return try askAgent() }
            guard foreground else { return try startInBackground() }
            // A person at a terminal reads along; a program gets its answer on stdout.
            return try serve { report in
                if output.format == .table { StandardError.write(report.render()) } else { answer(report) }
            }
        }
        // The process that `startInBackground` started: it answers through the pipe, and only then goes on.
        do {
            try serve { report in
                ReadinessMessage.ready(report.rendered(as: output.format)).send(to: readyDescriptor)
            }
        } catch {
            let failure = Failure(error)
            ReadinessMessage.failed(
                status: failure.status.rawValue, text: failure.rendered(as: output.format)
            )
            .send(to: readyDescriptor)
            throw ArgumentParser.ExitCode(failure.status.rawValue)
        }
    }

    // MARK: - By the agent

    private func askAgent() throws {
        guard cacheDir == nil, cacheKey.cacheKeyFile == nil else {
            throw Failure(
                .usage, "an agent has one cache",
                hint: "leave out --cache-dir and --cache-key-file, or give --no-agent")
        }
        var request = Kaml_Agent_V1_MountRequest()
        request.target = try store.target(reference)
        let path = try CanonicalPath.of(CachePlace.absolute(RawArguments.bytes(of: mountPoint)))
        request.mountPoint = Data(path.bytes)
        request.profile =
            switch profile {
            case .auto: .unspecified
            case .large: .large
            case .small: .small
            }
        if readAhead != Self.defaultReadAhead { request.readAheadKib = UInt32(clamping: readAhead) }
        if let allowOther { request.allowOther = allowOther }
        request.allowNonEmpty = allowNonEmpty
        let asked = request
        answer(AgentMountReport(try agent.agent.call { try await $0.mount(asked) }))
    }

    // MARK: - In the background

    private func startInBackground() throws {
        let directory = try CachePlace.directory(cacheDir)
        try CacheDirectoryCheck.prepare(directory)
        let log = log(in: directory)
        let pipe = ["--foreground", "--ready-descriptor=\(BackgroundProcess.readyDescriptor)"].map {
            ByteString($0)
        }
        let process = try BackgroundProcess.start(Array(RawArguments.all.dropFirst()) + pipe, log: log)
        switch process.waitUntilReady() {
        case .ready(let text):
            // Rendered by the process that serves, which alone knows all of it.
            let output = StandardOutput()
            output.write(text)
            output.flush()
        case .failed(let status, let text):
            StandardError.write(text)
            throw ArgumentParser.ExitCode(status)
        case nil:
            throw Failure(
                .failure, "the mount's process ended before the mount was ready", hint: "look into \(log)")
        }
    }

    /// The same for the same mount point, so that its logs are in one file.
    private func log(in directory: ByteString) -> ByteString {
        let path = (try? CachePlace.absolute(RawArguments.bytes(of: mountPoint))) ?? ByteString(mountPoint)
        let name = ContentHash.of(.chunk, path.bytes).hex.prefix(8)
        return directory.appending(ByteString("mount-\(name).log"))
    }

    // MARK: - Serving

    private static func notice(_ text: String) { StandardError.write("kaml: \(text)\n") }

    /// A process whose mount was taken away a moment ago still tidies its cache up: that is waited for.
    private static func openCache(
        _ directory: ByteString, _ options: CacheOptions, _ store: Store
    ) throws -> NodeCache {
        let pauseMicroseconds: UInt32 = 50_000
        var attemptsLeft = 40
        while true {
            let attempt = Result { () throws(CacheError) in
                try NodeCache(
                    directory: directory, options: options, sources: store.sources, notice: notice)
            }
            attemptsLeft -= 1
            guard case .failure(let error) = attempt, error.code == .inUse, attemptsLeft > 0 else {
                return try attempt.get()
            }
            usleep(pauseMicroseconds)
        }
    }

    /// Mounts, says so, and serves until the mount is gone.
    private func serve(ready: (MountReport) -> Void) throws {
        EndSignals.block()
        let place = try ReferencePath(RawArguments.bytes(of: reference))
        guard place.path.isEmpty else {
            throw Failure(.usage, "a mount shows a whole snapshot", hint: "leave out :\(place.path)")
        }
        let store = try store.open()
        let found = try store.find(place.reference, in: try store.state())
        var description = MountDescription(
            name: "\(place.reference)", snapshot: found.snapshot, store: self.store.url ?? "",
            mountPoint: try CanonicalPath.of(CachePlace.absolute(RawArguments.bytes(of: mountPoint))),
            allowOther: allowOther ?? (geteuid() == 0))
        description.readAheadKiB = readAhead
        description.allowNonEmpty = allowNonEmpty
        let cacheDirectory = try CachePlace.directory(cacheDir)
        try CacheDirectoryCheck.prepare(cacheDirectory)
        // Named by the path as it was given, so before the working directory changes.
        let log = readyDescriptor == nil ? nil : log(in: cacheDirectory)
        // The working directory may be on a disk that somebody wants to unmount.
        unsafe chdir("/")
        let cache = try Self.openCache(cacheDirectory, try cacheKey.cacheOptions(), store)
        defer { cache.close() }
        let mount = try SnapshotMount(
            mounting: description, as: profile,
            .init(objects: store.objects, cache: cache, workers: threads, notice: Self.notice))
        let ending = MountEnding(mount)
        try EndSignals.handle { signal, count in ending.asked(by: signal, count) }
        let report = MountReport(
            name: "\(place.reference)", snapshot: found.snapshot.hex, mountPoint: description.mountPoint,
            process: getpid(), cacheDirectory: cacheDirectory,
            log: log, profile: mount.profile == .passthrough ? "large" : "small",
            passesThrough: mount.passesThrough)
        // In the background this is the first line of the mount in its log.
        if readyDescriptor != nil { StandardError.write("kaml: " + report.render()) }
        ready(report)
        mount.waitUntilEnded()
    }
}

/// How a serving process ends when it is asked to by signals.
private final class MountEnding: Sendable {
    private let mount: SnapshotMount
    /// A service manager sends SIGTERM once, and kills what is still there after a while, which would leave a dead
    /// mount behind: systemd waits 90 seconds.
    private static let graceSeconds = 30
    /// For a worker that hangs in a store that does not answer.
    private static let stopSeconds: UInt32 = 5

    init(_ mount: SnapshotMount) { self.mount = mount }

    /// On the signals' thread, so that a further signal is taken only afterwards.
    func asked(by signal: Int32, _ count: Int) {
        if count > 1 { return takeAway() }
        do throws(MountError) { try mount.unmount() } catch {
            // Out of the tree already: nobody could ask again by its path.
            if error.cause == .notMounted || error.cause == .missing { return takeAway() }
            let patience =
                signal == SIGINT ? "" : " (so does waiting \(Self.graceSeconds) seconds)"
            StandardError.write(
                "kaml: \(error)\nkaml: a second signal takes the mount away from its users\(patience)\n")
            if signal != SIGINT { startGrace() }
        }
    }

    /// Ends as soon as the last file is closed, and after the grace in any case.
    private func startGrace() {
        do { try Thread(name: "kaml-grace") { self.waitForClose() }.detach() } catch { takeAway() }
    }

    private func waitForClose() {
        let pollMicroseconds: UInt32 = 100_000
        for _ in 0..<(Self.graceSeconds * 10) {
            usleep(pollMicroseconds)
            if isUnmountedOrHopeless() { return }
        }
        takeAway()
    }

    private func isUnmountedOrHopeless() -> Bool {
        do throws(MountError) { try mount.unmount() } catch {
            if error.cause == .busy { return false }
            takeAway()
        }
        return true
    }

    private func takeAway() {
        // The cache is safe at any point, so an end without tidying up loses nothing. Without a thread to watch,
        // it is the service manager that loses patience.
        do { try Thread(name: "kaml-ending") { Self.endSoon() }.detach() } catch {}
        mount.takeAway()
    }

    private static func endSoon() {
        sleep(stopSeconds)
        Glibc.exit(ExitStatus.ok.rawValue)
    }
}
