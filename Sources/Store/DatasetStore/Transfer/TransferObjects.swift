import Chunking
import ObjectStore

/// The objects that snapshots consist of, each named once: packs and manifests in the order of the snapshots.
struct TransferObjects {
    private(set) var packs: [PackReference] = []
    private(set) var manifests: [ManifestCopy.Item] = []
    private var packIDs: [PackID: PackReference] = [:]
    private var manifestIDs: Set<ContentHash> = []

    /// Roots come after all shards: one that is there promises them.
    private(set) var roots: [ManifestCopy.Item] = []

    mutating func add(_ snapshot: Snapshot) throws(StoreError) {
        for pack in snapshot.packs {
            guard let known = packIDs.updateValue(pack, forKey: pack.id) else {
                packs.append(pack)
                continue
            }
            guard known == pack else {
                throw StoreError(
                    .damaged, "two snapshots describe a pack differently", snapshot: snapshot.id.hex,
                    object: pack.key.text, remedy: "Run `kaml check`")
            }
        }
        for index in 0..<snapshot.root.shardCount {
            let id = snapshot.root.shard(index).id
            if manifestIDs.insert(id).inserted { manifests.append(.init(kind: .manifestShard, id: id)) }
        }
        if manifestIDs.insert(snapshot.id).inserted {
            roots.append(.init(kind: .manifestRoot, id: snapshot.id))
        }
    }

    func contains(_ pack: PackID) -> Bool { packIDs[pack] != nil }
    func contains(manifest id: ContentHash) -> Bool { manifestIDs.contains(id) }
}

/// What of some objects a store has.
struct PresentObjects {
    /// So many single questions cost less than a listing's pages would in a store of some size.
    private static let singleQuestions = 64

    let store: any ObjectStore

    /// The packs that are there. Throws `.damaged` for one of another size: it cannot be replaced, since an object is
    /// never overwritten.
    func packs(_ wanted: [PackReference]) throws(StoreError) -> Set<PackID> {
        let sizes = try sizes(of: wanted.map(\.key), under: "packs/")
        var present: Set<PackID> = []
        for pack in wanted {
            guard let size = sizes[pack.key] else { continue }
            guard size == pack.objectSize else {
                throw StoreError(
                    .damaged,
                    "the target \(store.location) has a pack of \(size) bytes that must have \(pack.objectSize)",
                    object: pack.key.text,
                    remedy: "Run `kaml check` there; delete the damaged object, then run the command again")
            }
            present.insert(pack.id)
        }
        return present
    }

    func manifests(_ wanted: [ManifestCopy.Item]) throws(StoreError) -> Set<ContentHash> {
        let sizes = try sizes(of: wanted.map { ManifestFormat.key(of: $0.id) }, under: "manifests/")
        return Set(wanted.lazy.map(\.id).filter { sizes[ManifestFormat.key(of: $0)] != nil })
    }

    private func sizes(of keys: [ObjectKey], under prefix: String) throws(StoreError) -> [ObjectKey: UInt64] {
        var sizes: [ObjectKey: UInt64] = [:]
        do throws(ObjectStoreError) {
            if keys.count <= Self.singleQuestions {
                for key in keys { sizes[key] = try store.size(of: key) }
                return sizes
            }
            let wanted = Set(keys)
            try store.list(prefix, after: nil) { info throws(ObjectStoreError) in
                if wanted.contains(info.key) { sizes[info.key] = info.size }
                return true
            }
            return sizes
        } catch { throw StoreError(error) }
    }
}
