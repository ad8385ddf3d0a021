import Chunking
package import ObjectStore

/// What a check looks at.
package struct CheckOptions: Sendable {
    /// Also decode and hash every chunk.
    package var readsData = false
    /// Only the snapshots of these datasets; nil means all, and then unreferenced objects are counted too.
    package var datasets: Set<DatasetName>?
    package var threads = 1

    package init() {}
}

/// Looks at every object that the log's snapshots need, each one once however many snapshots share it: log
/// records, roots, packs (size, footer, bases), shards, files against footers, and with `readsData` every chunk.
///
/// Damage is collected, not thrown. What is thrown is a store that cannot be reached any more.
package struct StoreCheck {
    private let store: any ObjectStore
    private let options: CheckOptions
    private let progress: WorkCounter
    private let footers: PackFooters
    private let source: StoreManifestSource

    private var report = CheckReport()
    private var damages: [String: CheckReport.Damage] = [:]
    private var data = DamagedData()
    private var names: [ContentHash: [LogCheck.Naming]] = [:]
    private var snapshots: [Snapshot] = []
    private var packs: [PackID: PackReference] = [:]
    private var damagedShards: Set<ContentHash> = []

    /// `sources` is asked for the objects of reference packs when data is read.
    package init(
        _ store: any ObjectStore, sources: any ObjectSources = NoObjectSources(),
        options: CheckOptions = CheckOptions(), progress: WorkCounter = WorkCounter()
    ) {
        self.store = store
        self.options = options
        self.progress = progress
        footers = PackFooters(store, sources: sources, capacity: 256 << 20)
        source = StoreManifestSource(objects: ManifestObjects(store: store))
    }

    package consuming func run() throws(StoreError) -> CheckReport {
        try checkLog()
        try checkRoots()
        try checkPacks()
        try checkShards()
        if options.readsData { try checkData() }
        try findImpact()
        report.damages = damages.values.sorted {
            ($0.subject.order, $0.object) < ($1.subject.order, $1.object)
        }
        return report
    }

    private mutating func checkLog() throws(StoreError) {
        progress.begin("log")
        let log = try LogCheck(store, datasets: options.datasets)
        report.logRecords = log.records
        report.voidRecords = log.state.voidRecords.map(\.sequence)
        for damage in log.damages { damages[damage.object] = damage }
        names = log.snapshots
        report.snapshots = names.count
        if let datasets = options.datasets {
            for name in datasets.sorted() where log.state.datasets[name] == nil {
                throw StoreError(
                    .notFound, "there is no dataset \(name)", remedy: "`kaml list` shows what there is")
            }
        }
    }

    private mutating func checkRoots() throws(StoreError) {
        progress.begin("snapshots")
        for id in names.keys.sorted() {
            progress.add(items: 1)
            do throws(StoreError) {
                let snapshot = try Snapshot(id, from: source)
                snapshots.append(snapshot)
                for pack in snapshot.packs { note(pack, in: ManifestFormat.key(of: id).text) }
            } catch {
                try blame(.manifestRoot, ManifestFormat.key(of: id), error)
                let key = error.object ?? ManifestFormat.key(of: id).text
                markSnapshot(id, files: nil, hurtBy: key)
            }
        }
    }

    /// An id is never used again, so two references to it must be equal.
    private mutating func note(_ pack: PackReference, in object: String) {
        guard let known = packs.updateValue(pack, forKey: pack.id), known != pack else { return }
        packs[pack.id] = known
        add(.init(.pack, pack.key.text, .contradiction("is described in two ways; one of them in \(object)")))
        data.add(pack.id, because: pack.key.text)
    }

    private mutating func checkPacks() throws(StoreError) {
        progress.begin("packs")
        let listed = try listPacks()
        report.packs = packs.count
        for pack in packs.values.sorted(by: { $0.id < $1.id }) {
            progress.add(items: 1)
            // What is missing in the listing may have come since.
            var size = listed[pack.id]
            if size == nil { size = try self.size(of: pack) }
            guard let size else {
                lose(pack, .missing)
                continue
            }
            guard size == pack.objectSize else {
                lose(pack, .wrongSize(expected: pack.objectSize, found: size))
                continue
            }
            do throws(StoreError) {
                let loaded = try footers.image(of: pack)
                report.chunks += UInt64(loaded.footer.chunkCount)
                try checkHeader(of: pack)
            } catch {
                guard error.code != .unavailable else { throw error }
                lose(pack, CheckReport.Problem(error))
            }
        }
        for pack in packs.values.sorted(by: { $0.id < $1.id }) where !data.isWhole(pack.id) {
            try checkBases(of: pack)
        }
        try checkPackSets()
    }

    private mutating func lose(_ pack: PackReference, _ problem: CheckReport.Problem) {
        add(.init(.pack, pack.key.text, problem))
        data.add(pack.id, because: pack.key.text)
    }

    /// No read needs the header, so a bad one hurts no file; but it is what tells a pack from other bytes.
    private mutating func checkHeader(of pack: PackReference) throws(StoreError) {
        let header: [UInt8]
        do throws(ObjectStoreError) {
            header = try store.read(pack.key, from: 0, count: PackFormat.headerLength)
        } catch { throw StoreError(error) }
        if header != PackFormat.header(of: pack.id) {
            add(.init(.pack, pack.key.text, .corrupt("has a damaged header")))
        }
    }

    private func size(of pack: PackReference) throws(StoreError) -> UInt64? {
        do throws(ObjectStoreError) { return try store.size(of: pack.key) } catch { throw StoreError(error) }
    }

    /// Sizes by id, in one listing. Counts what no snapshot names on the way.
    private mutating func listPacks() throws(StoreError) -> [PackID: UInt64] {
        var sizes: [PackID: UInt64] = [:]
        var unreferenced = CheckReport.Unreferenced()
        do throws(ObjectStoreError) {
            for info in try store.list("packs/") {
                guard let name = info.key.text.split(separator: "/").last, let id = PackID(hex: String(name)),
                    PackFormat.key(of: id) == info.key
                else { continue }
                sizes[id] = info.size
                guard packs[id] == nil else { continue }
                unreferenced.packs += 1
                unreferenced.packBytes += info.size
                if unreferenced.examples.count < CheckReport.listed {
                    unreferenced.examples.append(info.key.text)
                }
            }
        } catch { throw StoreError(error) }
        if options.datasets == nil, damages.isEmpty { report.unreferenced = unreferenced }
        return sizes
    }

    /// A base is a frame that needs none itself, in a pack that can be read.
    private mutating func checkBases(of pack: PackReference) throws(StoreError) {
        let loaded = try footers.image(of: pack)
        let footer = loaded.footer
        guard footer.baseCount > 0 else { return }
        for index in 0..<footer.chunkCount {
            guard let base = footer[index].base, let basePack = footer.basePack(base.pack) else { continue }
            if data.isWhole(basePack.id) {
                for cause in data.causes(basePack.id, base.chunk, count: 1) {
                    data.add(pack.id, chunk: UInt32(index), because: cause)
                }
                continue
            }
            guard base.chunk < basePack.chunkCount, let other = try sound(basePack) else {
                hurt(pack, UInt32(index), .contradiction("names a base that is not there"))
                continue
            }
            if other.footer[Int(base.chunk)].codec == .zstdPrefix {
                hurt(pack, UInt32(index), .contradiction("names a base that needs a base itself"))
            }
        }
    }

    private func sound(_ pack: PackReference) throws(StoreError) -> PackFooterImage? {
        do throws(StoreError) { return try footers.image(of: pack) } catch {
            if error.code == .unavailable { throw error }
            return nil
        }
    }

    /// A root names the packs of its files' bases too: garbage collection keeps what roots name.
    private mutating func checkPackSets() throws(StoreError) {
        for snapshot in snapshots {
            let named = Set(snapshot.packs.map(\.id))
            for pack in snapshot.packs where !data.isWhole(pack.id) {
                let loaded = try footers.image(of: pack)
                guard let missing = loaded.footer.basePacks.first(where: { !named.contains($0.id) }) else {
                    continue
                }
                let key = ManifestFormat.key(of: snapshot.id)
                add(
                    .init(
                        .manifestRoot, key.text,
                        .contradiction("does not name \(missing.key), which holds bases of its files")))
                markSnapshot(snapshot.id, files: 0, hurtBy: key.text)
                break
            }
        }
    }

    private mutating func checkShards() throws(StoreError) {
        progress.begin("manifests")
        var seen: Set<ContentHash> = []
        let check = RecordCheck(footers: footers)
        for snapshot in snapshots {
            for index in 0..<snapshot.root.shardCount {
                let id = snapshot.root.shard(index).id
                guard seen.insert(id).inserted else { continue }
                report.shards += 1
                progress.add(items: 1)
                do throws(StoreError) {
                    let (view, image) = try snapshot.readShard(index)
                    try checkRecords(view, check)
                    withExtendedLifetime(image) {}
                } catch {
                    damagedShards.insert(id)
                    try blame(.manifestShard, ManifestFormat.key(of: id), error)
                }
            }
        }
    }

    private mutating func checkRecords(_ view: ShardView, _ check: RecordCheck) throws(StoreError) {
        report.entries += UInt64(view.count)
        for index in 0..<view.packCount { note(view.pack(index), in: "a manifest shard") }
        for index in 0..<view.count {
            let problem: (pack: PackReference, chunk: UInt32, what: String)?
            do throws(StoreError) {
                problem = try check.problem(of: view.record(index), in: view, except: data)
            } catch {
                // A pack that the root does not name, or that went away meanwhile.
                guard error.code != .unavailable else { throw error }
                for pack in packsOf(view.record(index), in: view) where try sound(pack) == nil {
                    lose(pack, CheckReport.Problem(error))
                }
                continue
            }
            if let problem { hurt(problem.pack, problem.chunk, .contradiction(problem.what)) }
        }
    }

    private func packsOf(_ record: RecordView, in view: ShardView) -> [PackReference] {
        switch record.kind {
        case .chunk: [view.pack(record.pack)]
        case .extents: record.extents.compactMap { view.extent($0).pack.map(view.pack) }
        case .directory, .empty, .symlink, .hardLink: []
        }
    }

    private mutating func checkData() throws(StoreError) {
        let readable = packs.values.filter { !data.isWhole($0.id) }.sorted { $0.id < $1.id }
        let stored = readable.filter { !$0.holdsReferences }
        report.dataBytes = stored.reduce(0) { $0 + $1.objectSize - UInt64($1.footerLength) }
        for pack in readable where pack.holdsReferences {
            report.referencedBytes += try footers.with(pack) { $0.plainBytes }
        }
        progress.begin("data", totalBytes: report.dataBytes + report.referencedBytes)
        let check = DataCheck(footers: footers, progress: progress)
        let bad = try check.run(readable, threads: options.threads)
        for chunk in bad { hurt(chunk.pack, chunk.chunk, chunk.problem) }
    }

    /// Marks one chunk of a pack as damaged.
    private mutating func hurt(_ pack: PackReference, _ chunk: UInt32, _ problem: CheckReport.Problem) {
        let key = pack.key.text
        if damages[key] == nil { damages[key] = .init(.pack, key, problem) }
        guard data.causes(pack.id, chunk, count: 1).contains(key) == false else { return }
        damages[key]?.chunkCount += 1
        if let damage = damages[key], damage.chunks.count < CheckReport.listed {
            damages[key]?.chunks.append(chunk)
        }
        data.add(pack.id, chunk: chunk, because: key)
    }

    /// Files a read's error under the object it names, which may be another one than was asked for: a base.
    private mutating func blame(
        _ subject: CheckReport.Subject, _ key: ObjectKey, _ error: StoreError
    ) throws(StoreError) {
        guard error.code != .unavailable else { throw error }
        add(.init(subject, error.object ?? key.text, CheckReport.Problem(error)))
    }

    private mutating func add(_ damage: CheckReport.Damage) {
        if damages[damage.object] == nil { damages[damage.object] = damage }
    }

    private mutating func markSnapshot(_ id: ContentHash, files: Int?, hurtBy object: String) {
        let affected = (names[id] ?? []).map { naming in
            CheckReport.AffectedSnapshot(
                dataset: naming.dataset.text, snapshot: id, refs: naming.refs, files: files)
        }
        damages[object]?.impact.snapshots += affected
    }

    // MARK: - Impact

    private mutating func findImpact() throws(StoreError) {
        guard !data.isEmpty || !damagedShards.isEmpty else { return }
        progress.begin("impact")
        try spreadThroughBases()
        var search = ImpactSearch(data: data)
        for snapshot in snapshots {
            for index in 0..<snapshot.root.shardCount {
                let id = snapshot.root.shard(index).id
                if damagedShards.contains(id) {
                    search.add(lostShard: index, of: snapshot)
                } else {
                    try search.add(shard: index, of: snapshot)
                }
                progress.add(items: 1)
            }
            for (object, files) in search.takeCounts() {
                markSnapshot(snapshot.id, files: files, hurtBy: object)
            }
        }
        for (object, paths) in search.paths {
            damages[object]?.impact.pathCount += paths.count
            damages[object]?.impact.paths += paths.examples
        }
    }

    /// A chunk whose base is damaged cannot be read either.
    private mutating func spreadThroughBases() throws(StoreError) {
        for pack in packs.values where !data.isWhole(pack.id) {
            guard let loaded = try sound(pack), loaded.footer.baseCount > 0 else { continue }
            let footer = loaded.footer
            for index in 0..<footer.chunkCount {
                guard let base = footer[index].base, let basePack = footer.basePack(base.pack) else {
                    continue
                }
                for cause in data.causes(basePack.id, base.chunk, count: 1) {
                    data.add(pack.id, chunk: UInt32(index), because: cause)
                }
            }
        }
    }
}

extension CheckReport.Subject {
    /// From what hurts most to what hurts least.
    fileprivate var order: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
