import Chunking
import ObjectStore
import System

/// Which paths of which snapshots cannot be read because of which damaged object. Every distinct shard is
/// walked once; snapshots that share it share what was found.
struct ImpactSearch {
    /// Paths hurt by one object.
    struct Paths {
        var count = 0
        var examples: [ByteString] = []
    }

    private let data: DamagedData
    private var shards: [ContentHash: [String: Int]] = [:]
    private var counts: [String: Int] = [:]
    private(set) var paths: [String: Paths] = [:]

    init(data: DamagedData) { self.data = data }

    mutating func add(shard index: Int, of snapshot: Snapshot) throws(StoreError) {
        let id = snapshot.root.shard(index).id
        if let known = shards[id] {
            counts.merge(known, uniquingKeysWith: +)
            return
        }
        var found: [String: Int] = [:]
        let (view, image) = try snapshot.readShard(index)
        for local in 0..<view.count {
            let record = view.record(local)
            let causes = data.causes(of: record, in: view)
            guard !causes.isEmpty else { continue }
            let keyPath = unsafe ManifestEntry.keyPath(
                directory: ByteString(view.directoryPath(record.directory)), name: ByteString(record.name))
            for object in causes {
                found[object, default: 0] += 1
                note(ManifestEntry.displayPath(keyPath: keyPath), object)
            }
        }
        withExtendedLifetime(image) {}
        shards[id] = found
        counts.merge(found, uniquingKeysWith: +)
    }

    /// A shard that cannot be read hides its entries; the root still tells how many, and the first.
    mutating func add(lostShard index: Int, of snapshot: Snapshot) {
        let shard = snapshot.root.shard(index)
        let object = ManifestFormat.key(of: shard.id).text
        counts[object, default: 0] += Int(shard.entryCount)
        guard shards.updateValue([:], forKey: shard.id) == nil else { return }
        let first = unsafe snapshot.root.firstKey(index)
        let keyPath = unsafe ManifestEntry.keyPath(
            directory: ByteString(first.directory), name: ByteString(first.name))
        note(ManifestEntry.displayPath(keyPath: keyPath), object)
        paths[object]?.count += Int(shard.entryCount) - 1
    }

    /// The files hurt since the last call, by object.
    mutating func takeCounts() -> [String: Int] {
        defer { counts = [:] }
        return counts
    }

    /// The same path in two versions of a shard counts once as long as there are few.
    private mutating func note(_ path: ByteString, _ object: String) {
        let known = paths[object]?.examples.contains(path) ?? false
        guard !known else { return }
        paths[object, default: Paths()].count += 1
        if paths[object, default: Paths()].examples.count < CheckReport.listed {
            paths[object]?.examples.append(path)
        }
    }
}
