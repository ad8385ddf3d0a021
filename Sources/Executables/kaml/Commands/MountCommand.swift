import Agent
import ArgumentParser
import Chunking
import DatasetStore
import FuseSession
import Glibc
import KamlCommand
import NodeCache
import ObjectStore
import System

extension SnapshotMountOptions.Profile: ExpressibleByArgument {}

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
            """)

    @Argument(help: "DATASET[@REF].", completion: NameCompletion.kind)
    var reference: String
    @Argument(help: "An empty directory.", completion: .directory)
    var mountPoint: String
    @Option(help: "Where fetched data is kept.", completion: .directory)
    var cacheDir: String?
    @Option(
        help: "Tuned for large files (the kernel reads them itself) or small ones (no message for each open)."
    )
    var profile: SnapshotMountOptions.Profile = .auto
    @Flag(help: "Serve here instead of in the background.")
    var foreground = false
    @Option(help: "Threads that serve the kernel.")
    var threads: Int = FuseSession.defaultWorkers
    @Option(help: .init("How far the kernel reads ahead, in KiB (root only).", valueName: "KiB"))
    var readAhead: Int = 4096
    @Flag(inversion: .prefixedNo, help: "Let other users in (default for root).")
    var allowOther: Bool?
    @Option(name: .customLong("ready-descriptor"), help: .private)
    var readyDescriptor: Int32?
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...256).contains(threads) else { throw ValidationError("--threads is 1 to 256") }
        guard (0...1 << 20).contains(readAhead) else { throw ValidationError("--read-ahead is 0 to 1048576") }
    }

    func run() throws {
        guard let readyDescriptor else {
            try foreground ? serve { StandardError.write("\($0)\n") } : startInBackground()
            return
        }
        // The process that `startInBackground` started: it answers through the pipe, and only then goes on.
        do {
            try serve { ReadinessMessage.ready($0).send(to: readyDescriptor) }
        } catch {
            let failure = Failure(error)
            ReadinessMessage.failed(
                status: failure.status.rawValue, text: failure.rendered(as: output.format)
            )
            .send(to: readyDescriptor)
            throw ArgumentParser.ExitCode(failure.status.rawValue)
        }
    }

    // MARK: - In the background

    private func startInBackground() throws {
        let directory = try CachePlace.directory(cacheDir)
        do throws(Errno) { try HostFileSystem().makeDirectories(directory, mode: 0o700) } catch {
            throw Failure(
                "cannot make the cache directory \(directory)", error,
                hint: "name another one with --cache-dir")
        }
        let log = directory.appending(ByteString("mount-\(logName).log"))
        let pipe = ["--foreground", "--ready-descriptor=\(BackgroundProcess.readyDescriptor)"].map {
            ByteString($0)
        }
        let process = try BackgroundProcess.start(Array(RawArguments.all.dropFirst()) + pipe, log: log)
        switch process.waitUntilReady() {
        case .ready(let text):
            answer(
                Done(
                    text,
                    [
                        "name": .string(reference), "mountPoint": .string(mountPoint),
                        "process": .integer(Int64(process.identifier)),
                        "cacheDirectory": .string(directory.description),
                        "log": .string(log.description),
                    ]))
        case .failed(let status, let text):
            StandardError.write(text)
            throw ArgumentParser.ExitCode(status)
        case nil:
            throw Failure(
                .failure, "the mount's process ended before the mount was ready", hint: "look into \(log)")
        }
    }

    /// The same for the same mount point, so that its logs are in one file.
    private var logName: String {
        let path = (try? CachePlace.absolute(RawArguments.bytes(of: mountPoint))) ?? ByteString(mountPoint)
        return String(ContentHash.of(.chunk, path.bytes).hex.prefix(8))
    }

    // MARK: - Serving

    /// A process whose mount was taken away a moment ago still tidies its cache up: that is waited for.
    private static func mount(_ options: SnapshotMountOptions, _ objects: any ObjectStore) throws
        -> SnapshotMount
    {
        let pauseMicroseconds: UInt32 = 50_000
        let attempts = 40
        for _ in 1..<attempts {
            do {
                return try SnapshotMount(options, objects: objects) { StandardError.write("kaml: \($0)\n") }
            } catch let error as CacheError where error.code == .inUse {
                usleep(pauseMicroseconds)
            }
        }
        return try SnapshotMount(options, objects: objects) { StandardError.write("kaml: \($0)\n") }
    }

    /// Mounts, says so, and serves until the mount is gone.
    private func serve(ready: (String) -> Void) throws {
        EndSignals.block()
        let place = try ReferencePath(RawArguments.bytes(of: reference))
        guard place.path.isEmpty else {
            throw Failure(.usage, "a mount shows a whole snapshot", hint: "leave out :\(place.path)")
        }
        let objects = try store.objects()
        let store = try Store.open(objects)
        let found = try store.find(place.reference, in: try store.state())
        var options = SnapshotMountOptions(
            snapshot: found.snapshot, name: "\(place.reference)",
            mountPoint: try CachePlace.absolute(RawArguments.bytes(of: mountPoint)),
            cacheDirectory: try CachePlace.directory(cacheDir), allowOther: allowOther ?? (geteuid() == 0))
        options.profile = profile
        options.workers = threads
        options.readAheadKiB = readAhead
        try? HostFileSystem().makeDirectories(options.cacheDirectory, mode: 0o700)
        // The working directory may be on a disk that somebody wants to unmount.
        chdir("/")
        let mount = try Self.mount(options, objects)
        try EndSignals.handle { count in
            do { try mount.unmount(lazily: count > 1) } catch {
                StandardError.write("kaml: \(error); a second signal takes the mount away from its users\n")
            }
        }
        ready("\(place.reference) (\(found.snapshot.hex.prefix(12))) is mounted on \(options.mountPoint)")
        mount.waitUntilEnded()
    }
}

/// `kaml umount`.
struct UmountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "umount", abstract: "Unmount a snapshot.",
        discussion: """
              kaml umount /mnt/imagenet
              kaml umount --lazy /mnt/imagenet      takes it out of the tree; open files work until they are closed
            """)

    @Argument(help: "Where it is mounted.", completion: .directory)
    var mountPoint: String
    @Flag(help: "Also when something still uses it, or its process is gone.")
    var lazy = false

    func run() throws {
        try Mounter.unmount(try CachePlace.absolute(RawArguments.bytes(of: mountPoint)), lazily: lazy)
    }
}
