import ArgumentParser
import Chunking
import DatasetStore
import ObjectStore
import System

/// Manifest lookups by (parent, name) in one process: what a FUSE LOOKUP costs without FUSE.
struct Lookups: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookups", abstract: "Look names up in a snapshot, on one thread.")

    @Option(help: "Entries of the made-up snapshot.") var entries = 1_000_000
    @Option(help: "Lookups.") var count = 4_000_000
    @Flag(help: "Directories in random order; without it, in the order of a tree walk.") var random = false

    func run() throws {
        let directory = ByteString(
            "/tmp/kaml-bench-\(HostRandom().bytes(8).map { String($0, radix: 16) }.joined())")
        let objects = FileObjectStore(directory)
        try objects.createDirectory()
        defer { Self.remove(directory) }
        let result = try SyntheticTree.write(entries, to: objects)
        let source = StoreManifestSource(objects: ManifestObjects(store: objects))
        let snapshot = try Snapshot(result.snapshot, from: source)
        let directories = max(1, entries / SyntheticTree.filesInDirectory)
        let paths = (0..<directories).map { SyntheticTree.directoryName($0).bytes }
        let names = (0..<SyntheticTree.filesInDirectory).map { SyntheticTree.fileName($0).bytes }
        var state: UInt64 = 42
        var found = 0
        func pass(_ lookups: Int) throws {
            var directory = 0
            var file = 0
            for _ in 0..<lookups {
                if random {
                    state = state &* 6_364_136_223_846_793_005 &+ 1
                    directory = Int((state >> 33) % UInt64(directories))
                    file = Int((state >> 13) % UInt64(names.count))
                } else {
                    file += 1
                    if file == names.count { (file, directory) = (0, (directory + 1) % directories) }
                }
                try unsafe paths[directory].withUnsafeBytes { path in
                    try unsafe names[file].withUnsafeBytes { name in
                        if try unsafe snapshot.place(directory: path, name: name) != nil { found += 1 }
                    }
                }
            }
        }
        try pass(entries)  // loads every shard
        found = 0
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        try pass(count)
        let elapsed = Double(clock.monotonicNanoseconds() - start) / 1e9
        print(
            #"{"lookups": \#(count), "found": \#(found), "entries": \#(entries), "random": \#(random), "seconds": \#(elapsed)}"#
        )
        if found != count { throw ExitCode.failure }
    }

    private static func remove(_ path: ByteString) {
        let host = HostFileSystem()
        for entry in (try? host.list(path)) ?? [] {
            let child = path.appending(entry.name)
            if (try? host.unlink(child)) == nil { remove(child) }
        }
        try? host.removeDirectory(path)
    }
}
