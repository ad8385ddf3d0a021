import Chunking
import ObjectStore

/// How much a store holds, and how much less it takes to hold it.
package struct StoreStatistics: Sendable, Hashable {
    /// One dataset, or all of them.
    package struct Totals: Sendable, Hashable {
        package var snapshots = 0
        /// Files and bytes as readers see them, over all snapshots.
        package var logicalFiles: UInt64 = 0
        package var logicalBytes: UInt64 = 0
        /// Plain bytes of the packs' chunks: each is there once.
        package var uniqueBytes: UInt64 = 0
        /// Plain bytes that lie in objects of somebody else's, which imports refer to; not in `uniqueBytes`.
        package var referencedBytes: UInt64 = 0
        /// Of `packs`, those that only refer to foreign objects.
        package var referencePacks = 0
        /// Bytes of the packs.
        package var packBytes: UInt64 = 0
        package var packs = 0
        package var chunks: UInt64 = 0
        /// Chunks stored as a difference from another.
        package var prefixFrames: UInt64 = 0
        /// Chunks stored as they are, since compression did not pay.
        package var plainFrames: UInt64 = 0

        /// How many times the readers' bytes are there.
        package var dedupRatio: Double? {
            let there = uniqueBytes + referencedBytes
            return there > 0 ? Double(logicalBytes) / Double(there) : nil
        }
        package var compressionRatio: Double? {
            // Packs that only refer to objects hold nothing that could be smaller.
            packBytes > 0 && uniqueBytes > 0 ? Double(uniqueBytes) / Double(packBytes) : nil
        }
    }

    package var total = Totals()
    /// Packs that datasets share count for each.
    package var datasets: [DatasetName: Totals] = [:]
    package var manifests: UInt64 = 0
    package var manifestBytes: UInt64 = 0
    package var logRecords: UInt64 = 0
    package var logBytes: UInt64 = 0
    /// All that the store takes, also what no snapshot names.
    package var storedBytes: UInt64 = 0

    /// Reads the roots of all commits and the footers of their packs. `dataset`: of this one only.
    package static func gather(
        _ store: Store, dataset: DatasetName? = nil, progress: WorkCounter = WorkCounter()
    ) throws(StoreError) -> StoreStatistics {
        var gatherer = Gatherer(store: store, progress: progress)
        return try gatherer.run(dataset)
    }
}

private struct Gatherer {
    let store: Store
    let progress: WorkCounter
    let footers: PackFooters
    var statistics = StoreStatistics()
    var figures: [PackID: StoreStatistics.Totals] = [:]

    init(store: Store, progress: WorkCounter) {
        self.store = store
        self.progress = progress
        footers = PackFooters(store, capacity: 1 << 20)
    }

    mutating func run(_ wanted: DatasetName?) throws(StoreError) -> StoreStatistics {
        progress.begin("reading footers")
        let state = try store.state()
        if let wanted, state.datasets[wanted] == nil {
            throw StoreError(
                .notFound, "there is no dataset \(wanted)", remedy: "`kaml list` shows what there is")
        }
        var all: Set<PackID> = []
        for (name, dataset) in state.datasets where wanted == nil || name == wanted {
            var totals = StoreStatistics.Totals()
            var packs: Set<PackID> = []
            var seen: Set<ContentHash> = []
            for sequence in dataset.commits {
                guard let commit = state.commits[sequence]?.commit else { continue }
                totals.snapshots += 1
                totals.logicalFiles += commit.files
                totals.logicalBytes += commit.bytes
                guard seen.insert(commit.snapshot).inserted else { continue }
                for pack in try store.snapshot(commit.snapshot).packs {
                    try read(pack)
                    packs.insert(pack.id)
                }
            }
            add(packs, to: &totals)
            statistics.datasets[name] = totals
            statistics.total.snapshots += totals.snapshots
            statistics.total.logicalFiles += totals.logicalFiles
            statistics.total.logicalBytes += totals.logicalBytes
            all.formUnion(packs)
        }
        add(all, to: &statistics.total)
        try measure()
        return statistics
    }

    private func add(_ packs: Set<PackID>, to totals: inout StoreStatistics.Totals) {
        totals.packs = packs.count
        for pack in packs {
            guard let one = figures[pack] else { continue }
            totals.uniqueBytes += one.uniqueBytes
            totals.referencedBytes += one.referencedBytes
            totals.referencePacks += one.referencePacks
            totals.packBytes += one.packBytes
            totals.chunks += one.chunks
            totals.prefixFrames += one.prefixFrames
            totals.plainFrames += one.plainFrames
        }
    }

    private mutating func read(_ pack: PackReference) throws(StoreError) {
        guard figures[pack.id] == nil else { return }
        var totals = StoreStatistics.Totals()
        let image = try footers.image(of: pack)
        totals.packBytes = pack.objectSize
        totals.chunks = UInt64(image.footer.chunkCount)
        totals.referencePacks = pack.holdsReferences ? 1 : 0
        for index in 0..<image.footer.chunkCount {
            let entry = image.footer[index]
            if entry.codec == .reference {
                totals.referencedBytes += UInt64(entry.plainLength)
            } else {
                totals.uniqueBytes += UInt64(entry.plainLength)
            }
            if entry.codec == .zstdPrefix { totals.prefixFrames += 1 }
            if entry.codec == .none { totals.plainFrames += 1 }
        }
        figures[pack.id] = totals
        progress.add(items: 1)
    }

    /// What really lies there.
    private mutating func measure() throws(StoreError) {
        var found = statistics
        do throws(ObjectStoreError) {
            try store.objects.list("", after: nil) { info throws(ObjectStoreError) in
                found.storedBytes += info.size
                if info.key.text.hasPrefix("manifests/") {
                    found.manifests += 1
                    found.manifestBytes += info.size
                } else if info.key.text.hasPrefix(LogKey.prefix) {
                    found.logRecords += 1
                    found.logBytes += info.size
                }
                return true
            }
        } catch { throw StoreError(error) }
        statistics = found
    }
}
