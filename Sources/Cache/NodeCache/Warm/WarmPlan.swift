package import DatasetStore
package import System

/// The chunks that some paths of a snapshot consist of, each once, by pack.
package struct WarmPlan: Sendable {
    /// The wanted chunks of one pack.
    struct Share: Sendable {
        var pack: PackReference
        /// A bit for each chunk of the pack.
        private var words: [UInt64]

        init(_ pack: PackReference) {
            self.pack = pack
            words = [UInt64](repeating: 0, count: (Int(pack.chunkCount) + 63) / 64)
        }

        /// How many of them were not wanted before. Chunks that the pack does not have are left out.
        mutating func insert(_ chunks: Range<Int>) -> Int {
            var fresh = 0
            for chunk in chunks.clamped(to: 0..<Int(pack.chunkCount)) where !contains(chunk) {
                words[chunk / 64] |= 1 << UInt64(chunk % 64)
                fresh += 1
            }
            return fresh
        }

        func contains(_ chunk: Int) -> Bool { words[chunk / 64] & 1 << UInt64(chunk % 64) != 0 }

        /// The wanted chunks as runs, ascending.
        var runs: [Range<Int>] {
            var runs: [Range<Int>] = []
            for chunk in 0..<Int(pack.chunkCount) where contains(chunk) {
                if let last = runs.last, last.upperBound == chunk {
                    runs[runs.count - 1] = last.lowerBound..<(chunk + 1)
                } else {
                    runs.append(chunk..<(chunk + 1))
                }
            }
            return runs
        }
    }

    /// In the order in which the files need them.
    private(set) var shares: [Share] = []
    private var indices: [PackID: Int] = [:]
    package private(set) var files: UInt64 = 0
    package private(set) var chunks = 0
    /// Plain bytes of the chunks.
    package private(set) var bytes: UInt64 = 0

    package var packCount: Int { shares.count }

    /// What the files below `paths` need; all files when there are none. Reads every shard of the snapshot from its
    /// source, so that a cache which is the source has them all. Throws `.notFound` for a path that is not there.
    package init(_ snapshot: Snapshot, paths: [ByteString] = []) throws(StoreError) {
        if paths.isEmpty {
            try snapshot.walk(below: "") { view, index throws(StoreError) in
                // A link's target is an entry of its own.
                if view.record(index).kind != .hardLink { add(view, index) }
            }
            return
        }
        for path in paths {
            let entry = try snapshot.entry(at: path)
            if entry.contents == .directory {
                try snapshot.walk(below: entry.keyPath) { view, index throws(StoreError) in
                    if view.record(index).kind == .hardLink {
                        add(try snapshot.resolve(view.entry(index)))
                    } else {
                        add(view, index)
                    }
                }
            } else {
                add(try snapshot.resolve(entry))
            }
        }
        for index in 0..<snapshot.root.shardCount { _ = try snapshot.readShard(index) }
    }

    private mutating func add(_ view: ShardView, _ index: Int) {
        let record = view.record(index)
        switch record.kind {
        case .chunk:
            add(view.pack(record.pack), Int(record.chunk)..<(Int(record.chunk) + 1), bytes: record.size)
        case .extents:
            for index in record.extents {
                let extent = view.extent(index)
                guard let pack = extent.pack else { continue }
                let first = Int(extent.firstChunk)
                add(view.pack(pack), first..<(first + Int(extent.chunkCount)), bytes: extent.length)
            }
        case .directory, .empty, .symlink, .hardLink: return
        }
        files += 1
    }

    private mutating func add(_ entry: ManifestEntry) {
        switch entry.contents {
        case .chunk(let file):
            add(file.pack, Int(file.chunk)..<(Int(file.chunk) + 1), bytes: entry.size)
        case .extents(_, let extents):
            for extent in extents {
                guard let source = extent.source else { continue }
                let first = Int(source.firstChunk)
                add(source.pack, first..<(first + Int(source.chunkCount)), bytes: extent.length)
            }
        case .directory, .empty, .symlink, .hardLink: return
        }
        files += 1
    }

    private mutating func add(_ pack: PackReference, _ chunks: Range<Int>, bytes: UInt64) {
        let index: Int
        if let known = indices[pack.id] {
            index = known
        } else {
            index = shares.count
            indices[pack.id] = index
            shares.append(Share(pack))
        }
        let fresh = shares[index].insert(chunks)
        self.chunks += fresh
        // Of a run that another file shares in part, the part that is new, by the number of its chunks.
        if fresh == chunks.count {
            self.bytes &+= bytes
        } else if fresh > 0 {
            self.bytes &+= UInt64(Double(bytes) * Double(fresh) / Double(chunks.count))
        }
    }
}
