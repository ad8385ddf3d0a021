import DatasetFS
import DatasetStore
import Glibc
import NodeCache
import ObjectStore
import RecordFeed
import RecordIndex
import System

/// Feeds from a store in a directory, without an agent around it: for tests that kill it, and for figures.
///
///     feed-test-server STORE CACHE SOCKET
@main
struct FeedTestServer {
    static func main() throws {
        let arguments = CommandLine.arguments.map { ByteString($0) }
        guard arguments.count == 4 else {
            print("feed-test-server STORE CACHE SOCKET")
            exit(2)
        }
        ResourceLimits.raiseDescriptors()
        let store = try Store.open(FileObjectStore(arguments[1]))
        let cache = try NodeCache(directory: arguments[2]) { print($0) }
        try? HostFileSystem().unlink(arguments[3])
        let directory = arguments[2]
        let server = try FeedServer(
            listener: try MessageSocket.listen(at: arguments[3], mode: 0o666),
            datasets: Datasets(store: store, cache: cache),
            indexes: RecordIndexes(directory: directory.appending("indexes")),
            lending: FeedLending {
                do throws(Errno) {
                    return .success(ContainerFiles(tree: try ReadOnlyTree.make(of: directory)))
                } catch {
                    return .failure(.no("\(error)"))
                }
            }, options: FeedOptions()
        ) { print($0) }
        try server.start()
        print("ready")
        fflush(nil)
        // Until its parent lets go of it.
        while getchar() != EOF {}
        server.stop()
        cache.close()
    }
}

/// Every dataset of the store, for everybody.
struct Datasets: FeedDatasets {
    let store: Store
    let cache: NodeCache

    func open(
        _ name: FeedName, snapshot: String?, for peer: FeedPeer
    ) throws(FeedFailure) -> FeedDataset {
        do {
            let reference = try SnapshotReference(name.dataset)
            let found = try reference.resolve(in: try store.state())
            let snapshot = try Snapshot(found.snapshot, from: cache.manifests(origin: store.manifests))
            let files = try DatasetFS(snapshot, name: name.dataset, cache: cache, origin: store.objects) {
                print($0)
            }
            return FeedDataset(name: name.dataset, snapshot: snapshot, files: files)
        } catch {
            throw FeedFailure(.notFound, "\(error)", remedy: "Name another dataset")
        }
    }
}
