import Chunking

/// Which packs and chunks cannot be read, and because of which object.
struct DamagedData {
    private struct Hurt {
        /// Objects because of which nothing of the pack can be read.
        var whole: Set<String> = []
        var chunks: [UInt32: Set<String>] = [:]
    }
    private var packs: [PackID: Hurt] = [:]

    var isEmpty: Bool { packs.isEmpty }

    mutating func add(_ pack: PackID, because object: String) {
        packs[pack, default: Hurt()].whole.insert(object)
    }

    mutating func add(_ pack: PackID, chunk: UInt32, because object: String) {
        packs[pack, default: Hurt()].chunks[chunk, default: []].insert(object)
    }

    func isWhole(_ pack: PackID) -> Bool { packs[pack]?.whole.isEmpty == false }

    /// The objects because of which some chunk of a run cannot be read.
    func causes(_ pack: PackID, _ first: UInt32, count: UInt32) -> Set<String> {
        guard let hurt = packs[pack] else { return [] }
        var causes = hurt.whole
        let end = UInt64(first) + UInt64(count)
        // Few chunks are damaged; a file can have a million.
        for (chunk, objects) in hurt.chunks where chunk >= first && UInt64(chunk) < end {
            causes.formUnion(objects)
        }
        return causes
    }

    func causes(of record: RecordView, in view: ShardView) -> Set<String> {
        switch record.kind {
        case .chunk: return causes(view.packID(record.pack), record.chunk, count: 1)
        case .extents:
            var found: Set<String> = []
            for index in record.extents {
                let extent = view.extent(index)
                guard let pack = extent.pack else { continue }
                found.formUnion(causes(view.packID(pack), extent.firstChunk, count: extent.chunkCount))
            }
            return found
        case .directory, .empty, .symlink, .hardLink: return []
        }
    }
}
