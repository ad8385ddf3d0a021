import Chunking
import DatasetFS
import DatasetStore
import KamlRPC
import RecordFeed
import System

/// The snapshots of the stores in the agent's configuration, for the pods that may read them.
///
/// A pod names no store by its URL: the agent goes nowhere with its own credentials because a pod says so.
final class AgentFeedDatasets: FeedDatasets {
    private struct Known {
        var name: FeedName
        var dataset: FeedDataset
    }

    private let agent: NodeAgent
    private let access: FeedAccess
    private let stores: Set<String>
    private let describe: @Sendable (any Error) -> RPCFailure
    /// Used lately, by snapshot: their manifests stay loaded, and a resume needs no store.
    private let known = Monitor<[Known]>([])
    private static let limit = 32

    init(_ agent: NodeAgent, describe: @escaping @Sendable (any Error) -> RPCFailure) {
        self.agent = agent
        self.describe = describe
        access = agent.configuration.feed.access
        stores = Set(agent.configuration.stores.keys)
    }

    func open(
        _ name: FeedName, snapshot: String?, for peer: FeedPeer
    ) throws(FeedFailure) -> FeedDataset {
        let dataset = String(name.dataset.prefix { $0 != "@" })
        guard access.allows(user: peer.user, group: peer.group, dataset: dataset) else {
            throw FeedFailure(
                .denied, "user \(peer.user) may not read \(dataset)",
                remedy: "Ask the node's operator for a rule in feed.access")
        }
        guard name.store.isEmpty || stores.contains(name.store) else {
            throw FeedFailure(
                .notFound, "the agent has no store \(ByteString(name.store)) in its configuration",
                remedy: stores.isEmpty
                    ? "Add one" : "There are \(stores.sorted().joined(separator: ", "))")
        }
        if let snapshot {
            let exact = FeedName(dataset: dataset, store: name.store)
            if let found = find(exact, snapshot) { return found }
        }
        do {
            let opened = try agent.open(snapshot.map { "\(dataset)@\($0)" } ?? name.dataset, in: name.store)
            let exact = FeedName(dataset: dataset, store: name.store)
            if let found = find(exact, opened.snapshot.id.hex) { return found }
            let files = try DatasetFS(
                opened.snapshot, name: opened.name, cache: agent.cache, origin: opened.store.objects
            ) { [events = agent.events] in events.add("feedNotice", $0, severity: .warning) }
            let found = FeedDataset(name: opened.name, snapshot: opened.snapshot, files: files)
            known.withLock { known in
                if known.count >= Self.limit { known.removeFirst() }
                known.append(Known(name: exact, dataset: found))
            }
            return found
        } catch {
            throw failure(error, name)
        }
    }

    private func find(_ name: FeedName, _ snapshot: String) -> FeedDataset? {
        known.withLock { known in
            guard
                let index = known.firstIndex(where: {
                    $0.name == name && $0.dataset.snapshot.id.hex == snapshot
                })
            else { return nil }
            let found = known.remove(at: index)
            known.append(found)
            return found.dataset
        }
    }

    private func failure(_ error: any Error, _ name: FeedName) -> FeedFailure {
        let told = describe(error)
        let code: FeedFailure.Code =
            switch told.reason {
            case "notFound": .notFound
            case "usage": .invalid
            case "damaged": .corrupt
            case "unsupported": .unsupported
            case "permissionDenied": .denied
            default: .unavailable
            }
        let why = told.fields["why"].map { ": \($0)" } ?? ""
        return FeedFailure(
            code, "\(name.dataset): \(told.message)\(why)",
            remedy: told.fields["hint"] ?? "The agent's log says why")
    }
}
