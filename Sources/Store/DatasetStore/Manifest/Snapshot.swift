package import Chunking
import ObjectStore
package import Synchronization

/// One immutable version of a dataset, read in place: shards are loaded as they are first touched and then
/// stay, so that a lookup costs no lock, no allocation and no reference count.
///
/// Entries are named by ordinal: their index in sort order, the root directory first.
@safe package final class Snapshot: @unchecked Sendable {
    // Sendable: the slots are atomics; everything else is immutable.
    package let id: ContentHash
    package let root: RootView
    private let source: any ManifestSource
    private let rootImage: any ManifestImage
    private let slots: UnsafeMutablePointer<Atomic<UnsafeMutablePointer<LoadedShard>?>>

    /// Opens the root; shards come later.
    package init(_ id: ContentHash, from source: any ManifestSource) throws(StoreError) {
        self.id = id
        self.source = source
        do throws(StoreError) {
            rootImage = try source.root(id)
            root = try unsafe RootView(rootImage.bytes, id: id)
        } catch { throw error.at(snapshot: id.hex) }
        unsafe slots = .allocate(capacity: root.shardCount)
        for index in 0..<root.shardCount { unsafe (slots + index).initialize(to: Atomic(nil)) }
    }

    deinit {
        for index in 0..<root.shardCount {
            if let shard = unsafe slots[index].load(ordering: .acquiring) {
                unsafe shard.pointee.release()
                unsafe shard.deallocate()
            }
        }
        unsafe slots.deinitialize(count: root.shardCount)
        unsafe slots.deallocate()
    }

    package var statistics: SnapshotStatistics { root.statistics }

    /// Every pack that the snapshot's files and their bases lie in, by id. Not `root.packs`, which borrows memory that
    /// goes with the snapshot, and of a snapshot that nobody else holds that is before it has been read.
    package var packs: [PackReference] { withExtendedLifetime(self) { root.packs } }

    /// An entry's place. Valid as long as the snapshot lives.
    @safe package struct Place {
        package let shard: UnsafeMutablePointer<LoadedShard>
        package let index: Int
        package let ordinal: UInt64
        package var record: RecordView { unsafe shard.pointee.view.record(index) }
    }

    /// Nil when there is no such ordinal.
    package func place(ofOrdinal ordinal: UInt64) throws(StoreError) -> Place? {
        guard ordinal < statistics.entries else { return nil }
        let index = root.shardIndex(ofOrdinal: ordinal)
        let shard = try unsafe shard(index)
        return unsafe Place(shard: shard, index: Int(ordinal - root.firstOrdinal(index)), ordinal: ordinal)
    }

    /// Whether `place` finds the entry without reading anything.
    package func isLoaded(ofOrdinal ordinal: UInt64) -> Bool {
        guard ordinal < statistics.entries else { return true }
        return unsafe slots[root.shardIndex(ofOrdinal: ordinal)].load(ordering: .relaxed) != nil
    }

    /// The entry with this parent path (components joined by NUL) and name; nil when there is none.
    package func place(
        directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer
    ) throws(StoreError) -> Place? {
        let index = unsafe root.shardIndex(directory: directory, name: name)
        let shard = try unsafe shard(index)
        let hash = unsafe KeyHash.hash(name, seed: KeyHash.hash(directory, seed: 0))
        let view = unsafe shard.pointee.view
        let mask = unsafe shard.pointee.slotMask
        var slot = Int(truncatingIfNeeded: hash) & mask
        while true {
            let value = unsafe shard.pointee.slots[slot]
            if value == 0 { return nil }
            let local = Int(value & 0xFFFF_FFFF) - 1
            if value >> 32 == hash >> 32, local < view.count {
                let record = view.record(local)
                if unsafe KeyOrder.compare(record.name, name) == 0,
                    unsafe KeyOrder.compare(view.directoryPath(record.directory), directory) == 0
                {
                    return unsafe Place(
                        shard: shard, index: local, ordinal: root.firstOrdinal(index) + UInt64(local))
                }
            }
            slot = (slot + 1) & mask
        }
    }

    /// The entry that a hard link stands for; other entries stand for themselves.
    package func resolve(_ place: Place) throws(StoreError) -> Place {
        guard place.record.kind == .hardLink else { return place }
        let target = unsafe place.record.target
        let split = unsafe target.lastIndex(of: 0)
        let directory = unsafe UnsafeRawBufferPointer(rebasing: target[..<(split ?? 0)])
        let name = unsafe UnsafeRawBufferPointer(rebasing: target[(split.map { $0 + 1 } ?? 0)...])
        guard let found = try unsafe self.place(directory: directory, name: name),
            found.record.kind != .hardLink,
            found.record.kind != .directory
        else {
            throw StoreError(
                .damaged, "a hard link's target is not a file of the snapshot", snapshot: id.hex,
                remedy: "Run `kaml check`")
        }
        return found
    }

    /// The first entry of a directory's children, and the ordinal after the last. `path` is the directory's
    /// own key path.
    package func children(of path: UnsafeRawBufferPointer) throws(StoreError) -> Range<UInt64> {
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        let first = try unsafe lowerBound(directory: path, name: none)
        var end = first
        while end < statistics.entries, let place = try place(ofOrdinal: end) {
            let view = unsafe place.shard.pointee.view
            let group = view.record(place.index).directory
            guard unsafe KeyOrder.compare(view.directoryPath(group), path) == 0 else { break }
            end += UInt64(view.directoryRecords(group).upperBound - place.index)
        }
        return first..<end
    }

    /// The shard that holds or would hold an entry.
    package func shardID(directory: some Sequence<UInt8>, name: some Sequence<UInt8>) -> ContentHash {
        let key = (Array(directory), Array(name))
        return unsafe key.0.withUnsafeBytes { directory in
            unsafe key.1.withUnsafeBytes { name in
                unsafe root.shard(root.shardIndex(directory: directory, name: name)).id
            }
        }
    }

    /// Calls `body` with every entry in order, one shard in memory at a time.
    package func forEachEntry(
        _ body: (_ ordinal: UInt64, _ view: ShardView, _ index: Int) throws(StoreError) -> Void
    ) throws(StoreError) {
        for index in 0..<root.shardCount {
            let image = try source.shard(root.shard(index))
            let view = try openView(image, index)
            // The view borrows the image, also in what `body` makes of it.
            defer { withExtendedLifetime(image) {} }
            for local in 0..<view.count { try body(root.firstOrdinal(index) + UInt64(local), view, local) }
        }
    }

    /// A shard that stays loaded as long as the snapshot lives.
    @inline(__always)
    package func shard(_ index: Int) throws(StoreError) -> UnsafeMutablePointer<LoadedShard> {
        if let shard = unsafe slots[index].load(ordering: .acquiring) { return unsafe shard }
        return try unsafe load(index)
    }

    private func lowerBound(
        directory: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer
    ) throws(StoreError) -> UInt64 {
        let index = unsafe root.shardIndex(directory: directory, name: name)
        let local = try unsafe shard(index).pointee.view.lowerBound(directory: directory, name: name)
        return root.firstOrdinal(index) + UInt64(local)
    }

    /// A shard for one pass over it, not kept: it lives as long as the image that is handed out with it.
    package func readShard(_ index: Int) throws(StoreError) -> (view: ShardView, image: any ShardImage) {
        let image: any ShardImage
        do throws(StoreError) { image = try source.shard(root.shard(index)) } catch {
            throw error.at(snapshot: id.hex)
        }
        return (try openView(image, index), image)
    }

    private func openView(_ image: any ShardImage, _ index: Int) throws(StoreError) -> ShardView {
        let reference = root.shard(index)
        do throws(StoreError) {
            let view = try unsafe ShardView(image.bytes, id: reference.id)
            guard unsafe image.bytes.count == Int(reference.plainLength) else {
                throw StoreError(
                    .damaged,
                    unsafe "the manifest shard has \(image.bytes.count) bytes, the root says \(reference.plainLength)",
                    object: ManifestFormat.key(of: reference.id).text, remedy: "Run `kaml check`")
            }
            guard view.count == Int(reference.entryCount) else {
                throw StoreError(
                    .damaged,
                    "the manifest shard has \(view.count) entries, the root says \(reference.entryCount)",
                    object: ManifestFormat.key(of: reference.id).text, remedy: "Run `kaml check`")
            }
            return view
        } catch { throw error.at(snapshot: id.hex) }
    }

    private func load(_ index: Int) throws(StoreError) -> UnsafeMutablePointer<LoadedShard> {
        let image: any ShardImage
        do throws(StoreError) { image = try source.shard(root.shard(index)) } catch {
            throw error.at(snapshot: id.hex)
        }
        let view = try openView(image, index)
        let loaded = UnsafeMutablePointer<LoadedShard>.allocate(capacity: 1)
        unsafe loaded.initialize(to: LoadedShard(view: view, image: image, shardIndex: index))
        // Two threads may load at once; the first one's copy stays.
        let (exchanged, original) = unsafe slots[index].compareExchange(
            expected: nil, desired: loaded, ordering: .acquiringAndReleasing)
        if exchanged { return unsafe loaded }
        unsafe loaded.pointee.release()
        unsafe loaded.deallocate()
        guard let original = unsafe original else {
            preconditionFailure("an exchange fails only against a value")
        }
        return unsafe original
    }
}

/// A shard in use by a snapshot.
@safe package struct LoadedShard {
    package let view: ShardView
    let slots: UnsafePointer<UInt64>
    let slotMask: Int
    package let shardIndex: Int
    /// One word for each pack of the shard's table, zero at first, for whoever serves reads.
    package let packHandles: UnsafeMutablePointer<Atomic<UInt>>
    private let image: Unmanaged<AnyObject>

    init(view: ShardView, image: any ShardImage, shardIndex: Int) {
        self.view = view
        self.shardIndex = shardIndex
        unsafe slots = unsafe image.slots
        slotMask = image.slotCount - 1
        unsafe packHandles = .allocate(capacity: max(1, view.packCount))
        for index in 0..<view.packCount { unsafe (packHandles + index).initialize(to: Atomic(0)) }
        unsafe self.image = unsafe Unmanaged.passRetained(image)
    }

    func release() {
        unsafe packHandles.deinitialize(count: view.packCount)
        unsafe packHandles.deallocate()
        unsafe image.release()
    }
}
