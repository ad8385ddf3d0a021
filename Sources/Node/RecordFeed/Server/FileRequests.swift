import Chunking
import DatasetFS
package import DatasetStore
import System

/// Answers questions about a snapshot's files, for those who open paths instead of streams. Each blocks.
struct FileRequests {
    let datasets: any FeedDatasets
    let opened: OpenedDatasets

    func stat(_ request: FileRequest, for peer: FeedPeer) throws(FeedFailure) -> FeedReply {
        let (dataset, entry) = try find(request, peer)
        return .attributes(
            FileAttributes(
                kind: entry.kind, bytes: entry.size,
                modifiedNanoseconds: entry.modified.seconds &* 1_000_000_000
                    &+ Int64(entry.modified.nanoseconds),
                snapshot: dataset.snapshot.id.hex))
    }

    func list(
        _ request: FileRequest, after: ByteString, for peer: FeedPeer
    ) throws(FeedFailure) -> FeedReply {
        let (dataset, directory) = try find(request, peer)
        guard case .directory = directory.contents else {
            throw FeedFailure(
                .invalid, "\(dataset.name):\(request.path) is no directory", remedy: "List a directory")
        }
        let entries: [ManifestEntry]
        do throws(StoreError) {
            entries = try dataset.snapshot.entries(of: directory)
        } catch { throw FeedFailure(error, dataset: dataset.name) }
        var names: [ListedName] = []
        var bytes = 0
        for entry in entries where after.isEmpty || after < entry.name {
            // A name, its kind, and what the encoding adds.
            bytes += entry.name.count + 8
            if bytes > FeedLimits.inlineBytes {
                return .listing(names, isLast: false, snapshot: dataset.snapshot.id.hex)
            }
            names.append(ListedName(name: entry.name, kind: entry.kind))
        }
        return .listing(names, isLast: true, snapshot: dataset.snapshot.id.hex)
    }

    /// The inode and size of a file.
    func file(
        _ request: FileRequest, for peer: FeedPeer
    ) throws(FeedFailure) -> (dataset: FeedDataset, inode: Inode, size: UInt64) {
        let dataset = try opened.dataset(request.name, peer, datasets)
        let parts = request.path.bytes.split(separator: UInt8(ascii: "/")).filter {
            !$0.elementsEqual(".".utf8)
        }
        guard let name = parts.last else {
            throw FeedFailure(.invalid, "\(dataset.name):/ is a directory", remedy: "Read a file")
        }
        let directory = Array(parts.dropLast().joined(separator: [0]))
        let last = Array(name)
        do throws(StoreError) {
            let outcome = unsafe directory.withUnsafeBytes { directory in
                unsafe last.withUnsafeBytes { last in
                    Result { () throws(StoreError) in
                        guard let place = try unsafe dataset.snapshot.place(directory: directory, name: last)
                        else {
                            return Optional<(UInt64, UInt64, Bool)>.none
                        }
                        let file = try dataset.snapshot.resolve(place)
                        let kind = file.record.kind
                        return (
                            file.ordinal, file.record.size,
                            kind == .chunk || kind == .extents || kind == .empty
                        )
                    }
                }
            }
            guard let (ordinal, size, isFile) = try outcome.get() else {
                throw Self.missing(request, dataset)
            }
            guard isFile else {
                throw StoreError(.invalidInput, "this is no file", path: request.path.description)
            }
            return (dataset, Inode(rawValue: ordinal + 1), size)
        } catch { throw FeedFailure(error, dataset: dataset.name) }
    }

    private static func missing(_ request: FileRequest, _ dataset: FeedDataset) -> StoreError {
        StoreError(.notFound, "there is no such path in the snapshot", path: request.path.description)
    }

    private func find(
        _ request: FileRequest, _ peer: FeedPeer
    ) throws(FeedFailure) -> (dataset: FeedDataset, entry: ManifestEntry) {
        let dataset = try opened.dataset(request.name, peer, datasets)
        do throws(StoreError) {
            return (dataset, try dataset.snapshot.resolve(try dataset.snapshot.entry(at: request.path)))
        } catch { throw FeedFailure(error, dataset: dataset.name) }
    }
}

/// The datasets that a session asked for last: a name stands for the same snapshot as long as the session lasts, and is
/// looked up once.
final class OpenedDatasets: Sendable {
    private static let limit = 16
    private let known = Monitor<[(name: FeedName, dataset: FeedDataset)]>([])

    func dataset(
        _ name: FeedName, _ peer: FeedPeer, _ datasets: any FeedDatasets
    ) throws(FeedFailure) -> FeedDataset {
        if let known = known.withLock({ known in known.first { $0.name == name }?.dataset }) { return known }
        let dataset = try datasets.open(name, snapshot: nil, for: peer)
        known.withLock { known in
            if known.count >= Self.limit { known.removeFirst() }
            known.append((name, dataset))
        }
        return dataset
    }
}

extension ManifestEntry {
    fileprivate var kind: FileAttributes.Kind {
        switch contents {
        case .directory: .directory
        case .symlink: .link
        case .empty, .chunk, .extents, .hardLink: .file
        }
    }
}

extension FeedFailure {
    package init(_ error: StoreError, dataset: String) {
        let code: Code =
            switch error.code {
            case .damaged: .corrupt
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .invalidInput: .invalid
            case .permissionDenied: .denied
            case .unavailable, .conflict, .noSpace, .sourceChanged, .inputOutput: .unavailable
            }
        var told = error
        told.remedy = nil
        self.init(code, "\(dataset): \(told)", remedy: error.remedy ?? "The agent's log says why")
    }
}
