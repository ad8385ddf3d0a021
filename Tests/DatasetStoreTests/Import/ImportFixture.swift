import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System

/// A bucket to import from and a store in memory.
final class ImportFixture: Sendable {
    let source: MemoryObjectSource
    let objects = MemoryObjectStore()
    let store: Store

    init(keepsVersions: Bool = false) throws {
        source = MemoryObjectSource(keepsVersions: keepsVersions)
        store = try Store.create(at: objects, .init(sources: KnownSources(source)))
    }

    func options(_ change: (inout ImportOptions) -> Void = { _ in }) throws -> ImportOptions {
        guard let dataset = DatasetName("data") else { throw Errno.invalid }
        var options = ImportOptions(dataset: dataset, source: source)
        change(&options)
        return options
    }

    @discardableResult
    func runImport(_ change: (inout ImportOptions) -> Void = { _ in }) throws -> ImportResult {
        try store.importObjects(options(change))
    }

    /// Puts objects whose bytes tell their keys.
    func put(_ keys: ByteString...) { for key in keys { source.put(key, key.bytes + [0]) } }

    var packCount: Int { get throws { try objects.list("packs/").count } }

    func check(readsData: Bool = true) throws -> CheckReport {
        var options = CheckOptions()
        options.readsData = readsData
        return try StoreCheck(objects, sources: KnownSources(source), options: options).run()
    }
}

/// The entries of a snapshot but its root, by path.
func entries(_ snapshot: Snapshot) throws -> [ByteString: ManifestEntry] {
    var found: [ByteString: ManifestEntry] = [:]
    try snapshot.walk(below: "") { view, index throws(StoreError) in
        let entry = view.entry(index)
        found[ManifestEntry.displayPath(keyPath: entry.keyPath)] = entry
    }
    return found
}

/// The bytes of every file of a snapshot, by path.
func files(_ snapshot: Snapshot, of store: Store) throws -> [ByteString: [UInt8]] {
    var reader = FileReader(store)
    var files: [ByteString: [UInt8]] = [:]
    for (path, entry) in try entries(snapshot) where entry.contents != .directory {
        files[path] = try reader.bytes(of: entry)
    }
    return files
}
