import CKamlFeed
import DatasetFS
import DatasetStore
import Glibc
import KamlTestSupport
import NodeCache
import ObjectStore
import RecordIndex
import Synchronization
import System

@testable import RecordFeed

/// A dataset in a store in memory, a cache, and a feed server over them on a socket of its own.
final class FeedLab: Sendable {
    let home: TemporaryDirectory
    let faulty: FaultyObjectStore
    let store: Store
    let cache: NodeCache
    let server: FeedServer
    let notices = Monitor<[String]>([])
    let socket: ByteString
    let datasets: LabDatasets
    /// Contents of the files, by path.
    let files: [(path: String, bytes: [UInt8])]

    /// `isWarm`: everything is in the cache before the first feed.
    init(
        _ files: [(path: String, bytes: [UInt8])], isWarm: Bool = true, options: FeedOptions = FeedOptions(),
        lends: Bool = true, objects: any ObjectStore = MemoryObjectStore()
    ) throws {
        self.files = files.sorted { $0.path < $1.path }
        home = try TemporaryDirectory()
        let source = home.path.appending("source")
        try HostFileSystem().makeDirectory(source, mode: 0o755)
        for file in files {
            let path = source.appending(ByteString(file.path))
            let directory = ByteString(
                Array(path.bytes[..<(path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)]))
            try HostFileSystem().makeDirectories(directory)
            let made = try FileDescriptor.open(path, O_WRONLY | O_CREAT, mode: 0o644)
            try file.bytes.withUnsafeBytes { try made.write($0, at: 0) }
        }
        faulty = FaultyObjectStore(objects)
        store = try Store.create(at: objects)
        guard let name = DatasetName("data") else { throw Errno.invalid }
        var commit = CommitOptions(dataset: name, source: source)
        commit.usesStatCache = false
        let id = try store.commit(commit).snapshot

        let directory = home.path.appending("cache")
        cache = try NodeCache(directory: directory) { _ in }
        let snapshot = try Snapshot(id, from: cache.manifests(origin: ManifestObjects(store: faulty)))
        let operations = try DatasetFS(snapshot, name: "data@main", cache: cache, origin: faulty) { _ in }
        datasets = LabDatasets(FeedDataset(name: "data@main", snapshot: snapshot, files: operations))
        if isWarm {
            for ordinal in 0..<snapshot.statistics.entries {
                var buffer = [UInt8](repeating: 0, count: 1 << 20)
                var offset: UInt64 = 0
                while let count = try? buffer.withUnsafeMutableBytes({ buffer in
                    try operations.readAndWait(Inode(rawValue: ordinal + 1), at: offset, into: buffer)
                }), count > 0 { offset += UInt64(count) }
            }
        }
        socket = home.path.appending("feed.sock")
        server = try FeedServer(
            listener: try MessageSocket.listen(at: socket, mode: 0o666), datasets: datasets,
            indexes: RecordIndexes(directory: home.path.appending("indexes")),
            lending: FeedLending {
                guard lends else { return .failure(.no("this test lends nothing")) }
                do throws(Errno) {
                    return .success(ContainerFiles(tree: try ReadOnlyTree.make(of: directory)))
                } catch {
                    return .failure(.no("\(error)"))
                }
            }, options: options
        ) { [notices] line in notices.withLock { $0.append(line) } }
        try server.start()
    }

    deinit {
        server.stop()
        cache.close()
    }

    func connect() throws -> FeedPod { try FeedPod(socket) }
}

/// One dataset, `data`, for everybody but user 4,000,000,000.
final class LabDatasets: FeedDatasets {
    private let dataset: FeedDataset

    init(_ dataset: FeedDataset) { self.dataset = dataset }

    func open(_ name: FeedName, snapshot: String?, for peer: FeedPeer) throws(FeedFailure) -> FeedDataset {
        guard name.dataset.hasPrefix("data") else {
            throw FeedFailure(.notFound, "there is no dataset \(name.dataset)", remedy: "There is data")
        }
        return dataset
    }
}

extension FeedLab {
    /// Files of random bytes below two directories.
    static func tree(_ count: Int, upTo size: Int = 20_000, seed: UInt64 = 1) -> [(
        path: String, bytes: [UInt8]
    )] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { index in
            (
                "\(index % 2 == 0 ? "cat" : "dog")/\(1000 + index)",
                random.bytes(Int(random.next() % UInt64(size)))
            )
        }
    }
}
