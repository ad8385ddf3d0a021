import Chunking
import System

/// Writes a commit's manifest: what the scan saw, what reading gave, and what the parent knows, in order.
struct ManifestAssembly: ~Copyable {
    private let tree: SourceTree
    private let comparison: Comparison
    private let parent: Snapshot?
    private let access: any SourceAccess
    private let catalog: ChunkCatalog
    private let footers: PackFooters
    /// Files changed after this may change again without their times telling.
    private let trustLimit: Timestamp

    private var writer: ManifestWriter
    private(set) var statCache: StatCache.Builder
    private var bases: [PackID: PackReference] = [:]
    private var packsWithoutBases: Set<PackID> = []

    init(
        _ tree: SourceTree, _ comparison: Comparison, parent: Snapshot?, _ access: any SourceAccess,
        _ context: StoringContext, _ manifests: ManifestObjects, trustLimit: Timestamp
    ) {
        self.tree = tree
        self.comparison = comparison
        self.parent = parent
        self.access = access
        catalog = context.catalog
        footers = context.footers
        self.trustLimit = trustLimit
        writer = ManifestWriter(objects: manifests, parent: parent)
        statCache = StatCache.Builder(capacity: Int(tree.entryCount))
    }

    struct Result: ~Copyable {
        var manifest: ManifestWriter.Result
        var statCache: StatCache.Builder
    }

    consuming func run(_ results: borrowing ReadResults) throws(StoreError) -> Result {
        try append(rootEntry(), tree.root, trusted: false)
        var nextSmall = 0
        var nextLarge = 0
        for directory in tree.directories {
            let arena = tree.arenas[directory.arena]
            var ordinal = directory.firstOrdinal
            for position in directory.first..<(directory.first + directory.count) {
                let node = unsafe arena.nodes[position]
                var outcome: ReadOutcome?
                if nextSmall < comparison.smallReads.count,
                    UInt64(comparison.smallReads[nextSmall]) == ordinal
                {
                    outcome = results.small[nextSmall]
                    nextSmall += 1
                } else if nextLarge < comparison.largeReads.count,
                    UInt64(comparison.largeReads[nextLarge]) == ordinal
                {
                    outcome = results.large[nextLarge]
                    nextLarge += 1
                }
                let name = unsafe ByteString(arena.name(node))
                if let entry = try entry(directory, name, node, ordinal, outcome, results) {
                    try addBases(of: entry)
                    try writer.append(entry)
                    statCache.append(node, trusted: node.changed < trustLimit)
                }
                ordinal += 1
            }
        }
        writer.addBasePacks(bases.values)
        return Result(manifest: try writer.finish(), statCache: statCache)
    }

    private mutating func append(
        _ entry: ManifestEntry, _ status: FileStatus, trusted: Bool
    ) throws(StoreError) {
        try writer.append(entry)
        statCache.append(SourceNode(status, nameOffset: 0, nameLength: 0), trusted: trusted)
    }

    private func rootEntry() -> ManifestEntry {
        ManifestEntry(
            directory: "", name: "", mode: tree.root.mode, userID: tree.root.userID,
            groupID: tree.root.groupID,
            modified: tree.root.modified, size: 0, contents: .directory,
            attributes: tree.directoryAttributes[""] ?? [])
    }

    /// Nil for what is left out.
    private func entry(
        _ directory: SourceDirectory, _ name: ByteString, _ node: SourceNode, _ ordinal: UInt64,
        _ outcome: ReadOutcome?, _ results: borrowing ReadResults
    ) throws(StoreError) -> ManifestEntry? {
        func entry(
            _ contents: ManifestEntry.Contents, size: UInt64, links: UInt32 = 1,
            _ attributes: [ExtendedAttribute] = []
        ) -> ManifestEntry {
            ManifestEntry(
                directory: directory.keyPath, name: name, mode: node.mode, userID: node.userID,
                groupID: node.groupID, modified: node.modified, size: size, linkCount: links,
                contents: contents,
                attributes: attributes)
        }
        if node.kind == .directory {
            let keyPath = ManifestEntry.keyPath(directory: directory.keyPath, name: name)
            return entry(.directory, size: 0, tree.directoryAttributes[keyPath] ?? [])
        }
        let group = node.kind == .regular ? comparison.links.group(of: ordinal) : nil
        if let group, group.first != ordinal {
            return try link(directory, name, group, results)
        }
        let links = group?.count ?? 1
        if comparison.reuses[Int(ordinal)] {
            guard let parent,
                let found = try parent.place(ofOrdinal: UInt64(comparison.parentOrdinals[Int(ordinal)]))
            else { throw StoreError(.inputOutput, "an entry of the parent is gone") }
            let place = try parent.resolve(found)
            var known = unsafe place.shard.pointee.view.entry(place.index)
            known.directory = directory.keyPath
            known.name = name
            known.linkCount = links
            return known
        }
        let attributes = results.attributes[ordinal] ?? access.givenAttributes(of: node)
        switch outcome {
        case .empty: return entry(.empty, size: 0, links: links, attributes)
        case .symlink(let target): return entry(.symlink(target: target), size: UInt64(target.count))
        case .chunk(let place):
            guard let pack = catalog.reference(place.pack) else { throw Self.unpublished }
            let chunk = try catalog.entry(place)
            let file = ManifestEntry.SmallFile(pack: pack, chunk: place.chunk, entry: chunk)
            return entry(.chunk(file), size: UInt64(chunk.plainLength), links: links, attributes)
        case .large(let index):
            let contents = results.contents[index]
            let extents = try extents(contents)
            let size = contents.extents.reduce(0) { $0 + $1.length }
            return entry(.extents(hash: contents.hash, extents), size: size, links: links, attributes)
        case .failed, .pending, nil: return nil
        }
    }

    private static let unpublished = StoreError(.inputOutput, "a pack of this commit was not published")

    private func extents(_ contents: LargeContents) throws(StoreError) -> [ManifestEntry.Extent] {
        var extents: [ManifestEntry.Extent] = []
        extents.reserveCapacity(contents.extents.count)
        for draft in contents.extents {
            var source: ManifestEntry.Extent.Source?
            if draft.pack != ExtentDraft.hole {
                guard let pack = catalog.reference(draft.pack) else { throw Self.unpublished }
                source = .init(
                    pack: pack, firstChunk: draft.firstChunk, chunkCount: draft.chunkCount,
                    containerOffset: draft.containerOffset)
            }
            extents.append(.init(fileOffset: draft.fileOffset, length: draft.length, source: source))
        }
        return extents
    }

    /// Another name of a file: everything but the name is the first one's. Nil when that was left out.
    private func link(
        _ directory: SourceDirectory, _ name: ByteString, _ group: HardLinks.Group,
        _ results: borrowing ReadResults
    ) throws(StoreError) -> ManifestEntry? {
        let place = tree.locate(group.first)
        let node = tree.node(place)
        let first = tree.directories[place.directory]
        var outcome: ReadOutcome?
        if !comparison.reuses[Int(group.first)] {
            outcome = Self.outcome(of: group.first, comparison, results)
        }
        guard var entry = try entry(first, tree.name(place), node, group.first, outcome, results) else {
            return nil
        }
        entry.contents = .hardLink(target: entry.keyPath)
        entry.directory = directory.keyPath
        entry.name = name
        return entry
    }

    private static func outcome(
        of ordinal: UInt64, _ comparison: Comparison, _ results: borrowing ReadResults
    ) -> ReadOutcome? {
        func find(_ list: [UInt32]) -> Int? {
            var low = 0
            var high = list.count
            while low < high {
                let middle = (low + high) / 2
                if UInt64(list[middle]) < ordinal { low = middle + 1 } else { high = middle }
            }
            return low < list.count && UInt64(list[low]) == ordinal ? low : nil
        }
        if let index = find(comparison.smallReads) { return results.small[index] }
        return find(comparison.largeReads).map { results.large[$0] }
    }

    /// A reader of the entry needs the packs of its chunks' bases, so the snapshot names them too.
    private mutating func addBases(of entry: ManifestEntry) throws(StoreError) {
        switch entry.contents {
        case .chunk(let file):
            if file.entry.codec == .zstdPrefix { try addBases(file.pack, file.chunk, 1) }
        case .extents(_, let extents):
            for extent in extents {
                guard let source = extent.source else { continue }
                try addBases(source.pack, source.firstChunk, source.chunkCount)
            }
        default: return
        }
    }

    private mutating func addBases(_ pack: PackReference, _ first: UInt32, _ count: UInt32) throws(StoreError)
    {
        if pack.holdsReferences || packsWithoutBases.contains(pack.id) { return }
        let found = try footers.with(pack) { footer -> [PackReference]? in
            if footer.baseCount == 0 { return nil }
            return (Int(first)..<max(Int(first), min(Int(first) + Int(count), footer.chunkCount))).compactMap
            {
                footer[$0].base.flatMap { footer.basePack($0.pack) }
            }
        }
        guard let found else {
            packsWithoutBases.insert(pack.id)
            return
        }
        for pack in found { bases[pack.id] = pack }
    }
}
