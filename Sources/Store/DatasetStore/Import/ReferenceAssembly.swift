import Chunking
import ObjectStore
import System

/// Where the bytes of each object of an import lie: in the parent's packs when it has the object in this version, else in
/// new reference packs.
struct ReferenceAssembly {
    /// Small objects of a pack: what a node reads and keeps as one.
    private static let packObjects: UInt32 = 4_096
    private static let packContainer: UInt64 = 64 << 20

    /// Where one object's bytes are; 12 bytes.
    private struct Place {
        /// Index in `packs`, or one of the two below.
        var pack: UInt32
        /// The chunk; of a large object the index in `large`.
        var chunk: UInt32
        /// Of a small object: its offset in the container, in units of 4 KiB.
        var slot: UInt32

        static let empty = UInt32.max
        static let large = UInt32.max - 1
    }

    private let location: String
    private let parameters: ChunkingParameters
    private let random: any RandomSource
    private let publisher: ReferencePublisher

    private var packs: [PackReference] = []
    private var numbers: [PackID: UInt32] = [:]
    private var places: [Place] = []
    private var large: [[ManifestEntry.Extent]] = []
    /// The pack that small objects go to; `openNumber` is its place in `packs`.
    private var open: ReferencePackBuilder?
    private(set) var newObjects: UInt64 = 0
    private(set) var newBytes: UInt64 = 0
    private(set) var reusedObjects: UInt64 = 0

    init(
        location: String, parameters: ChunkingParameters, random: any RandomSource,
        publisher: ReferencePublisher
    ) {
        self.location = location
        self.parameters = parameters
        self.random = random
        self.publisher = publisher
    }

    /// Places every object of the tree, in its order. All packs are with the publisher when it returns.
    mutating func place(_ tree: ObjectTree, parent: Snapshot?) throws(StoreError) {
        places.reserveCapacity(tree.objectCount)
        var cursor = parent.map { ShardCursor($0) }
        try tree.forEachEntry { directory, entry throws(StoreError) in
            guard case .object(let position) = entry else { return }
            let object = tree.object(position)
            guard object.size > 0 else {
                places.append(Place(pack: Place.empty, chunk: 0, slot: 0))
                return
            }
            let referenced = tree.listing.referenced(object)
            if let place = unsafe try known(referenced, directory, tree.listing.name(object), &cursor) {
                places.append(place)
                reusedObjects += 1
                return
            }
            newObjects += 1
            newBytes &+= object.size
            places.append(try object.size <= smallLimit ? addSmall(referenced) : addLarge(referenced))
        }
        try endPack()
    }

    private var smallLimit: UInt64 {
        UInt64(min(parameters.wholeLimit, Int(PackFormat.limits.plainLength)))
    }

    // MARK: - What the parent has

    private mutating func known(
        _ object: ReferencedObject, _ directory: ByteString, _ name: UnsafeRawBufferPointer,
        _ cursor: inout ShardCursor?
    ) throws(StoreError) -> Place? {
        guard cursor != nil else { return nil }
        let found = unsafe directory.bytes.withUnsafeBytes { directory in
            Result { () throws(StoreError) in try unsafe cursor?.find(directory: directory, name: name) }
        }
        guard let (view, record) = try found.get(), view.isReference(record), record.size == object.size,
            record.hash == object.identity(at: location)
        else { return nil }
        if record.kind == .chunk {
            let slot = UInt32(truncatingIfNeeded: record.containerOffset / PackFormat.slotAlignment)
            return Place(pack: number(of: view.pack(record.pack)), chunk: record.chunk, slot: slot)
        }
        large.append(
            record.extents.map { index in
                let extent = view.extent(index)
                let source = extent.pack.map { pack in
                    ManifestEntry.Extent.Source(
                        pack: view.pack(pack), firstChunk: extent.firstChunk, chunkCount: extent.chunkCount,
                        containerOffset: extent.containerOffset)
                }
                return .init(fileOffset: extent.fileOffset, length: extent.length, source: source)
            })
        return Place(pack: Place.large, chunk: UInt32(large.count - 1), slot: 0)
    }

    /// The number of a pack that is there already.
    private mutating func number(of pack: PackReference) -> UInt32 {
        if let number = numbers[pack.id] { return number }
        let number = UInt32(packs.count)
        packs.append(pack)
        numbers[pack.id] = number
        return number
    }

    // MARK: - New packs

    private mutating func addSmall(_ object: ReferencedObject) throws(StoreError) -> Place {
        if let pack = open,
            pack.objectCount >= Self.packObjects || pack.containerSize + object.size > Self.packContainer
        {
            try endPack()
        }
        if open == nil {
            open = ReferencePackBuilder(id: PackID(random: random), layout: .slots, location: location)
            openNumber = UInt32(packs.count)
            packs.append(Self.unpublished)
        }
        guard let (chunk, entry) = open?.append(object) else { preconditionFailure("opened above") }
        let slot = UInt32(truncatingIfNeeded: entry.containerOffset / PackFormat.slotAlignment)
        return Place(pack: openNumber, chunk: chunk, slot: slot)
    }

    private var openNumber: UInt32 = 0
    /// Holds the place of a pack until it is finished.
    private static let unpublished = PackReference(
        id: PackID(high: 0, low: 0), footerHash: .zero, objectSize: 0, containerSize: 0, footerLength: 0,
        chunkCount: 0, layout: .slots)

    private mutating func endPack() throws(StoreError) {
        guard let pack = open else { return }
        open = nil
        packs[Int(openNumber)] = try publisher.submit(pack)
    }

    /// A large object has packs of its own, so that a container is the object, byte for byte.
    private mutating func addLarge(_ object: ReferencedObject) throws(StoreError) -> Place {
        var extents: [ManifestEntry.Extent] = []
        var start: UInt64 = 0
        while start < object.size {
            let end = min(object.size, start + PackFormat.limits.containerSize)
            var builder = ReferencePackBuilder(id: PackID(random: random), layout: .file, location: location)
            builder.append(object, part: start..<end, chunkLength: UInt32(parameters.fixedSize))
            let pack = try publisher.submit(builder)
            extents.append(
                .init(
                    fileOffset: start, length: end - start,
                    source: .init(
                        pack: pack, firstChunk: 0, chunkCount: pack.chunkCount, containerOffset: 0)))
            start = end
        }
        large.append(extents)
        return Place(pack: Place.large, chunk: UInt32(large.count - 1), slot: 0)
    }

    // MARK: - For the manifest

    /// What the manifest says of the object at a position of the tree.
    func contents(_ position: Int, of object: ReferencedObject) -> ManifestEntry.Contents {
        let place = places[position]
        if place.pack == Place.empty { return .empty }
        let identity = object.identity(at: location)
        if place.pack == Place.large { return .extents(hash: identity, large[Int(place.chunk)]) }
        let length = UInt32(truncatingIfNeeded: object.size)
        let entry = ChunkEntry(
            hash: .zero, frameOffset: 0, containerOffset: UInt64(place.slot) * PackFormat.slotAlignment,
            storedLength: length, plainLength: length, codec: .reference, base: nil)
        return .chunk(
            .init(pack: packs[Int(place.pack)], chunk: place.chunk, entry: entry, identity: identity))
    }
}
