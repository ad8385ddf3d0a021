import Chunking
import ObjectStore
import System

/// Finds the packs of a store whose chunks a commit may reuse.
struct KnownPacks {
    /// Snapshots looked at to tell which packs belong to somebody. What stays unexplained is taken for
    /// orphaned, which costs memory and nothing else.
    private static let snapshotLimit = 64
    /// Orphaned packs looked into, the newest first.
    private static let orphanLimit = 1_024

    let store: Store
    let state: LogState
    let parent: Snapshot?
    let footers: PackFooters

    /// Adds the parent's packs and those that a killed commit left. A damaged pack is passed over: its chunks
    /// are stored again.
    func add(to catalog: ChunkCatalog) throws(StoreError) {
        var known: Set<PackID> = []
        for pack in parent?.root.packs ?? [] {
            known.insert(pack.id)
            try index(pack, catalog)
        }
        for info in try orphans(known) {
            guard let id = Self.id(info.key) else { continue }
            do throws(StoreError) {
                guard let pack = try footers.reference(of: id, objectSize: info.size) else { continue }
                // Its commit was killed, perhaps before the pack's name was safe.
                do throws(ObjectStoreError) { try store.objects.ensureDurable(info.key) } catch {
                    throw StoreError(error)
                }
                try catalog.index(pack)
            } catch {
                guard error.code == .damaged || error.code == .notFound || error.code == .unsupported else {
                    throw error
                }
            }
        }
    }

    private func index(_ pack: PackReference, _ catalog: ChunkCatalog) throws(StoreError) {
        do throws(StoreError) { try catalog.index(pack) } catch {
            guard error.code == .damaged || error.code == .notFound else { throw error }
        }
    }

    private func orphans(_ known: Set<PackID>) throws(StoreError) -> [ObjectInfo] {
        var unexplained: [PackID: ObjectInfo] = [:]
        do throws(ObjectStoreError) {
            try store.objects.list("packs/", after: nil) { info throws(ObjectStoreError) in
                if let id = Self.id(info.key), !known.contains(id) { unexplained[id] = info }
                return true
            }
        } catch { throw StoreError(error) }
        var seen: Set<ContentHash> = parent.map { [$0.id] } ?? []
        for commit in state.commits.values.sorted(by: { $0.sequence > $1.sequence }) {
            if unexplained.isEmpty || seen.count > Self.snapshotLimit { break }
            guard seen.insert(commit.commit.snapshot).inserted else { continue }
            do throws(StoreError) {
                for pack in try store.snapshot(commit.commit.snapshot).root.packs {
                    unexplained[pack.id] = nil
                }
            } catch {
                guard error.code == .damaged || error.code == .notFound else { throw error }
            }
        }
        let newest = unexplained.values.sorted { ($0.modified, $0.key) > ($1.modified, $1.key) }
        return Array(newest.prefix(Self.orphanLimit))
    }

    private static func id(_ key: ObjectKey) -> PackID? {
        guard let slash = key.text.lastIndex(of: "/") else { return nil }
        return PackID(hex: String(key.text[key.text.index(after: slash)...]))
    }
}
