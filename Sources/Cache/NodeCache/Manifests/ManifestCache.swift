import Chunking
import DatasetStore
import ObjectStore
import System
import Telemetry

/// Manifest images that are fetched and decompressed once, kept in files, and mapped.
struct ManifestCache: ManifestSource {
    private let context: CacheContext
    private let objects: ManifestObjects
    private let counted: CountingObjectStore

    init(_ context: CacheContext, origin: ManifestObjects) {
        self.context = context
        counted = CountingObjectStore(origin.store)
        objects = ManifestObjects(store: counted) { kind, id in
            guard context.hasDisk,
                let image = ManifestFile.open(
                    kind, id, context.layout.manifest(id), context.files, context.sealing)
            else { return nil }
            return unsafe Array(image.bytes)
        }
    }

    func root(_ id: ContentHash) throws(StoreError) -> any ManifestImage {
        let path = context.layout.manifest(id)
        if let image = open(.manifestRoot, id, path) { return image }
        let image = try fetch { () throws(StoreError) in
            try StoreManifestSource(objects: objects).root(id)
        }
        return unsafe keep(.manifestRoot, id, path, image.bytes, UnsafeBufferPointer(start: nil, count: 0))
            ?? image
    }

    func shard(_ id: ContentHash, length: UInt32?) throws(StoreError) -> any ShardImage {
        let path = context.layout.manifest(id)
        if let image = open(.manifestShard, id, path) { return image }
        let image = try fetch { () throws(StoreError) in
            try StoreManifestSource(objects: objects).shard(id, length: length)
        }
        let slots = unsafe UnsafeBufferPointer(start: image.slots, count: image.slotCount)
        return unsafe keep(.manifestShard, id, path, image.bytes, slots) ?? image
    }

    private func open(_ kind: ObjectKind, _ id: ContentHash, _ path: ByteString) -> MappedImage? {
        context.hasDisk ? ManifestFile.open(kind, id, path, context.files, context.sealing) : nil
    }

    private func fetch<Image>(_ body: () throws(StoreError) -> Image) throws(StoreError) -> Image {
        let span = Trace.current?.child("manifest") ?? Trace.root("manifest")
        let before = counted.counts.bytesRead
        defer {
            context.counters.manifestBytes.count(Int(truncatingIfNeeded: counted.counts.bytesRead &- before))
        }
        do throws(StoreError) {
            let image = try Trace.with(span) { () throws(StoreError) in try SlowWait.during(body) }
            span?.end()
            return image
        } catch {
            span?.end(failed: error)
            throw error
        }
    }

    /// The image out of a new file; nil, and the caller keeps it on the heap, when the disk does not take it.
    private func keep(
        _ kind: ObjectKind, _ id: ContentHash, _ path: ByteString, _ image: UnsafeRawBufferPointer,
        _ slots: UnsafeBufferPointer<UInt64>
    ) -> MappedImage? {
        guard context.hasDisk else { return nil }
        do throws(Errno) {
            let bytes = unsafe ManifestFile.encode(kind, image, slots: slots)
            // rename(2) replaces a damaged file, but not a directory that somebody put there.
            try context.replaceWhole(
                path, bytes, suffix: context.uniqueSuffix(), for: ManifestFile.purpose(id))
        } catch {
            context.noticeDiskTrouble(error)
            return nil
        }
        return open(kind, id, path)
    }
}
