package import Chunking

/// A plain, verified manifest image in memory or mapped. It must not change while anybody holds it.
package protocol ManifestImage: AnyObject, Sendable {
    var bytes: UnsafeRawBufferPointer { get }
}

/// A shard's image with its lookup table.
package protocol ShardImage: ManifestImage {
    /// `ShardLookupTable` slots; a power of two of them.
    var slots: UnsafePointer<UInt64> { get }
    var slotCount: Int { get }
}

/// Where a snapshot's manifest comes from: the store itself for tools, a cache of mapped images on a node.
package protocol ManifestSource: Sendable {
    func root(_ id: ContentHash) throws(StoreError) -> any ManifestImage
    /// `length` is the plain image's, where the caller knows it: an image of another length is damaged.
    func shard(_ id: ContentHash, length: UInt32?) throws(StoreError) -> any ShardImage
}

extension ManifestSource {
    package func shard(_ id: ContentHash) throws(StoreError) -> any ShardImage { try shard(id, length: nil) }

    func shard(_ reference: ShardReference) throws(StoreError) -> any ShardImage {
        try shard(reference.id, length: reference.plainLength)
    }
}

/// Reads manifests from a store into memory, each time anew.
package struct StoreManifestSource: ManifestSource {
    private let objects: ManifestObjects

    package init(objects: ManifestObjects) { self.objects = objects }

    package func root(_ id: ContentHash) throws(StoreError) -> any ManifestImage {
        HeapImage(try objects.image(.manifestRoot, id))
    }

    package func shard(_ id: ContentHash, length: UInt32?) throws(StoreError) -> any ShardImage {
        let image = HeapImage(try objects.image(.manifestShard, id, length: length))
        unsafe image.makeTable(for: try ShardView(image.bytes, id: id))
        return image
    }
}

/// An image on the heap, outside Swift's arrays so that its address holds.
@safe final class HeapImage: ShardImage, @unchecked Sendable {
    // Sendable: written only before anybody else has it.
    let bytes: UnsafeRawBufferPointer
    private(set) var slots: UnsafePointer<UInt64>
    private(set) var slotCount = 0

    init(_ image: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: image.count, alignment: 64)
        unsafe copy.copyBytes(from: image)
        unsafe bytes = UnsafeRawBufferPointer(copy)
        unsafe slots = unsafe UnsafePointer(UnsafeMutablePointer<UInt64>.allocate(capacity: 1))
    }

    func makeTable(for view: ShardView) {
        unsafe slots.deallocate()
        let table = ShardLookupTable.make(for: view)
        let copy = UnsafeMutablePointer<UInt64>.allocate(capacity: table.count)
        unsafe copy.initialize(from: table, count: table.count)
        unsafe slots = unsafe UnsafePointer(copy)
        slotCount = table.count
    }

    deinit {
        unsafe bytes.deallocate()
        unsafe slots.deallocate()
    }
}

/// Finds a shard's record by (directory, name) in about one probe.
///
/// Not part of the store format: every node derives it. Open addressing with linear probing over a power of
/// two of slots, at most half full; a slot is the key hash's upper 32 bits and the record's index plus one.
package enum ShardLookupTable {
    package static func slotCount(forEntries count: Int) -> Int {
        var slots = 16
        while slots < count * 2 { slots *= 2 }
        return slots
    }

    package static func make(for view: ShardView) -> [UInt64] {
        var slots = [UInt64](repeating: 0, count: slotCount(forEntries: view.count))
        let mask = slots.count - 1
        for directory in 0..<view.directoryCount {
            let seed = unsafe KeyHash.hash(view.directoryPath(directory), seed: 0)
            for index in view.directoryRecords(directory) {
                let hash = unsafe KeyHash.hash(view.record(index).name, seed: seed)
                var slot = Int(truncatingIfNeeded: hash) & mask
                while slots[slot] != 0 { slot = (slot + 1) & mask }
                slots[slot] = (hash >> 32) << 32 | UInt64(index + 1)
            }
        }
        return slots
    }
}
