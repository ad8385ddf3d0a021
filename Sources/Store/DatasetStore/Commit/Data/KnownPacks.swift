import Chunking
import ObjectStore
import System

/// Finds the packs of a store whose chunks a commit may reuse.
struct KnownPacks {
    /// Packs looked into besides the parent's, the newest first: other branches' and datasets', and what a
    /// killed commit left. Each costs one ranged read and 64 bytes a chunk.
    private static let otherLimit = 16_384

    let store: Store
    let parent: Snapshot?
    let footers: PackFooters

    /// Adds the parent's packs and the store's others. A damaged pack is passed over: its chunks
    /// are stored again.
    func add(to catalog: ChunkCatalog) throws(StoreError) {
        var known: Set<PackID> = []
        for pack in parent?.packs ?? [] {
            known.insert(pack.id)
            try index(pack, catalog)
        }
        for info in try others(known) {
            guard let id = Self.id(info.key) else { continue }
            do throws(StoreError) {
                guard let pack = try footers.reference(of: id, objectSize: info.size) else { continue }
                // Its writer may have been killed before the name was synced.
                do throws(ObjectStoreError) { try store.objects.makeDurable(info.key) } catch {
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

    private func others(_ known: Set<PackID>) throws(StoreError) -> [ObjectInfo] {
        var others: [ObjectInfo] = []
        do throws(ObjectStoreError) {
            try store.objects.list("packs/", after: nil) { info throws(ObjectStoreError) in
                if let id = Self.id(info.key), !known.contains(id) { others.append(info) }
                return true
            }
        } catch { throw StoreError(error) }
        others.sort { ($0.modified, $0.key) > ($1.modified, $1.key) }
        return Array(others.prefix(Self.otherLimit))
    }

    private static func id(_ key: ObjectKey) -> PackID? {
        guard let slash = key.text.lastIndex(of: "/") else { return nil }
        return PackID(hex: String(key.text[key.text.index(after: slash)...]))
    }
}
