import Chunking

/// One file's record against the footers of the packs it names.
struct RecordCheck {
    let footers: PackFooters

    /// What contradicts, and in which pack; nil when all is well. Packs in `damaged` are not looked at: what
    /// they hurt is found otherwise.
    func problem(
        of record: RecordView, in view: ShardView, except damaged: DamagedData
    ) throws(StoreError) -> (pack: PackReference, chunk: UInt32, what: String)? {
        switch record.kind {
        case .chunk:
            let pack = view.pack(record.pack)
            guard !damaged.isWhole(pack.id) else { return nil }
            let loaded = try footers.image(of: pack)
            var entry = loaded.footer[Int(record.chunk)]
            // The record names neither the base nor the object: the footer does.
            entry.base = nil
            entry.object = nil
            guard entry == record.chunkEntry else {
                return (
                    pack, record.chunk, "lists chunk \(record.chunk) otherwise than a manifest shard does"
                )
            }
            if let what = loaded.footer.identityProblem(of: record.chunk, record) {
                return (pack, record.chunk, what)
            }
            return nil
        case .extents:
            for index in record.extents {
                let extent = view.extent(index)
                guard let packIndex = extent.pack else { continue }
                let pack = view.pack(packIndex)
                guard !damaged.isWhole(pack.id) else { continue }
                let loaded = try footers.image(of: pack)
                let what =
                    loaded.footer.problem(of: extent)
                    ?? loaded.footer.identityProblem(of: extent.firstChunk, record)
                if let what {
                    return (pack, extent.firstChunk, what)
                }
            }
            return nil
        case .directory, .empty, .symlink, .hardLink: return nil
        }
    }
}

extension PackFooter {
    /// What a record says of a foreign object must be what the pack says.
    fileprivate func identityProblem(of chunk: UInt32, _ record: RecordView) -> String? {
        guard let sources, let object = referenced(Int(chunk))?.object else { return nil }
        return sources[object].identity(at: sources.location) == record.hash
            ? nil : "refers to another object or version than a manifest shard does"
    }

    /// What contradicts the footer in an extent of a validated shard: it has to be a run of chunks that lie one after
    /// the other in the container and cover it exactly.
    package func problem(of extent: ExtentView) -> String? {
        let first = Int(extent.firstChunk)
        let last = first + Int(extent.chunkCount) - 1
        var next = extent.containerOffset
        for index in first...last {
            let entry = self[index]
            guard entry.containerOffset == next else {
                return "has no run of chunks where a manifest shard has one"
            }
            next += UInt64(entry.plainLength)
        }
        guard next == extent.containerOffset + extent.length else {
            return "has a run of chunks that is not as long as a manifest shard says"
        }
        return nil
    }
}
