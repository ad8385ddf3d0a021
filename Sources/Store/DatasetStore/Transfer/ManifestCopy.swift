import Chunking
import ObjectStore
import Synchronization

/// Copies manifest objects, each decoded and checked against its name on the way.
///
/// A stored difference needs a base that is stored whole. Where the target has the base so, the object goes as it is;
/// where not, it is encoded anew, by what the target has. The name is the hash of the plain image either way.
struct ManifestCopy: Sendable {
    struct Item: Hashable, Sendable {
        var kind: ObjectKind
        var id: ContentHash
    }

    let source: ManifestObjects
    let target: ManifestObjects
    let progress: WorkCounter

    /// Returns the bytes that the target grew by. Whole objects go first, since they are what differences need.
    func run(_ items: [Item], threads: Int) throws(StoreError) -> UInt64 {
        let bytes = Atomic<UInt64>(0)
        let differences = Mutex<[Item]>([])
        try each(items, threads: threads) { item, _ throws(StoreError) in
            if let stored = try copyWhole(item) {
                bytes.add(stored, ordering: .relaxed)
                progress.add(bytes: stored, items: 1)
            } else {
                differences.withLock { $0.append(item) }
            }
        }
        try each(differences.withLock { $0 }, threads: threads) { item, encoder throws(StoreError) in
            let stored = try copyDifference(item, &encoder)
            bytes.add(stored, ordering: .relaxed)
            progress.add(bytes: stored, items: 1)
        }
        return bytes.load(ordering: .relaxed)
    }

    private func each(
        _ items: [Item], threads: Int,
        _ body: @escaping @Sendable (Item, inout FrameEncoder) throws(StoreError) -> Void
    ) throws(StoreError) {
        guard !items.isEmpty else { return }
        let next = Atomic<Int>(0)
        let failure = Mutex<StoreError?>(nil)
        let workers = WorkerThreads(min(threads, items.count), "kaml-copy") {
            var encoder = FrameEncoder(level: 3)
            while failure.withLock({ $0 == nil }) {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < items.count else { return }
                do throws(StoreError) { try body(items[index], &encoder) } catch {
                    failure.withLock { $0 = $0 ?? error.ofPromised }
                }
            }
        }
        workers.join()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    /// Nil for a difference.
    private func copyWhole(_ item: Item) throws(StoreError) -> UInt64? {
        let object = try source.envelope(item.kind, item.id)
        guard object.codec != .zstdPrefix else { return nil }
        _ = try source.plain(of: object, item.kind, item.id, base: nil)
        return try create(item.id, object)
    }

    private func copyDifference(_ item: Item, _ encoder: inout FrameEncoder) throws(StoreError) -> UInt64 {
        let object = try source.envelope(item.kind, item.id)
        let base = try source.image(item.kind, object.base)
        let image = try source.plain(of: object, item.kind, item.id, base: base)
        if try target.holdsWhole(item.kind, object.base) { return try create(item.id, object) }
        return try target.put(item.kind, image, similar: object.base, encoder: &encoder).storedLength
    }

    private func create(_ id: ContentHash, _ object: ManifestObjects.Envelope) throws(StoreError) -> UInt64 {
        do throws(ObjectStoreError) {
            let outcome = try target.store.createIfAbsent(ManifestFormat.key(of: id), object.bytes)
            return outcome == .created ? UInt64(object.bytes.count) : 0
        } catch { throw StoreError(error) }
    }
}

extension ManifestObjects {
    /// Whether an object is there and needs no base, by its envelope alone.
    func holdsWhole(_ kind: ObjectKind, _ id: ContentHash) throws(StoreError) -> Bool {
        let head: [UInt8]
        do throws(ObjectStoreError) {
            head = try store.read(ManifestFormat.key(of: id), from: 0, count: ManifestFormat.envelopeLength)
        } catch {
            if error.code == .notFound || error.code == .truncated { return false }
            throw StoreError(error)
        }
        do throws(StoreError) { return try parse(kind, id, head).codec != .zstdPrefix } catch {
            if error.code == .damaged { return false }
            throw error
        }
    }
}
