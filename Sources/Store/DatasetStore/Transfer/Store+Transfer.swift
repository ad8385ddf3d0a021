import Chunking
import ObjectStore
import System

extension Store {
    /// Brings snapshots, and the commits that led to them, into another store.
    ///
    /// `wanted` are references resolved in `state`, all of one dataset. Packs go first, then manifests, then log
    /// records: nothing is visible in the target before it is whole. Killed anywhere, the next run finds what arrived.
    /// Throws `.conflict` where a branch of the target has other commits, `.damaged` with the object's name where this
    /// store's bytes are not what they must be.
    package func transfer(
        _ wanted: [ResolvedSnapshot], in state: LogState, to target: Store, _ options: TransferOptions,
        progress: WorkCounter = WorkCounter()
    ) throws(StoreError) -> TransferResult {
        guard let dataset = wanted.first?.dataset else {
            throw StoreError(.invalidInput, "no snapshot is named", remedy: "Name one, as in imagenet@main")
        }
        do throws(StoreError) {
            return try TransferRun(self, state, target, wanted, dataset, options, progress).run()
        } catch { throw error.at(dataset: (options.dataset ?? dataset).text) }
    }
}

/// One transfer, from the comparison of the logs to the last record.
private struct TransferRun {
    let source: Store
    let target: Store
    let dataset: DatasetName
    let options: TransferOptions
    let progress: WorkCounter
    let threads: Int
    let plans: [TransferPlan]
    let tags: [MovedTag]

    init(
        _ source: Store, _ state: LogState, _ target: Store, _ wanted: [ResolvedSnapshot],
        _ sourceDataset: DatasetName, _ options: TransferOptions, _ progress: WorkCounter
    ) throws(StoreError) {
        self.source = source
        self.target = target
        self.options = options
        self.progress = progress
        threads = max(1, min(64, options.threads))
        dataset = options.dataset ?? sourceDataset
        var plans: [TransferPlan] = []
        for resolved in wanted {
            guard let commit = state.commits[resolved.sequence] else { continue }
            let names = state.datasets[resolved.dataset]
            let named = resolved.refName.flatMap { names?.branches[$0] == nil ? nil : $0 }
            plans.append(
                TransferPlan(
                    dataset: dataset, branch: options.branch ?? named ?? commit.commit.branch,
                    history: state.history(of: commit).map(MovedCommit.init), depth: options.depth))
        }
        self.plans = plans
        let names = state.datasets[sourceDataset]
        let asked = Set(
            wanted.compactMap { resolved in resolved.refName.flatMap { names?.tags[$0] == nil ? nil : $0 } })
        tags = (names?.tags ?? [:]).sorted { $0.key < $1.key }.compactMap { name, sequence in
            guard options.movesTags || asked.contains(name), let commit = state.commits[sequence] else {
                return nil
            }
            return MovedTag(name: name, commit: .init(commit))
        }
    }

    func run() throws(StoreError) -> TransferResult {
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        progress.begin("comparing")
        var state = try target.state()
        if options.mustBeNew, state.datasets[dataset] != nil {
            throw StoreError(
                .conflict, "\(target.objects.location) has a dataset \(dataset) already",
                remedy: "Bring it up to date with `kaml pull`, or choose another name with --as")
        }
        for plan in plans {
            if case .diverged(let head) = plan.step(in: state) { throw diverged(plan, head) }
        }
        var result = TransferResult(dataset: dataset)
        try moveObjects(state, &result)
        progress.begin("log")
        for plan in plans { result.branches.append(try record(plan, &state)) }
        try recordTags(&state, &result)
        result.seconds = Double(clock.monotonicNanoseconds() &- start) / 1e9
        return result
    }

    // MARK: - Objects

    private func moveObjects(_ state: LogState, _ result: inout TransferResult) throws(StoreError) {
        var needed = TransferObjects()
        // What snapshots consist of that the target's log names already: all of it is there, and durable.
        var promised = TransferObjects()
        for plan in plans {
            let missing = plan.missing(in: state)
            for commit in missing {
                try needed.add(try open(commit.snapshot))
                progress.add(items: 1)
            }
            if !missing.isEmpty, let known = plan.newestKnown(in: state) {
                try? promised.add(try open(known.snapshot))
            }
        }
        try movePacks(needed, promised, &result)
        try moveManifests(needed.manifests, promised, &result)
        try moveManifests(needed.roots, promised, &result)
    }

    private func open(_ snapshot: ContentHash) throws(StoreError) -> Snapshot {
        do throws(StoreError) { return try source.snapshot(snapshot) } catch { throw error.ofPromised }
    }

    private func movePacks(
        _ needed: TransferObjects, _ promised: TransferObjects, _ result: inout TransferResult
    ) throws(StoreError) {
        let present = try PresentObjects(store: target.objects).packs(needed.packs)
        var missing: [PackReference] = []
        for pack in needed.packs {
            guard present.contains(pack.id) else {
                missing.append(pack)
                result.packs.copied += 1
                result.packs.copiedBytes += pack.objectSize
                continue
            }
            result.packs.skipped += 1
            result.packs.skippedBytes += pack.objectSize
            if !promised.contains(pack.id) { try makeDurable(pack.key) }
        }
        let footers = PackFooters(source)
        for pack in needed.packs where pack.holdsReferences {
            try footers.with(pack) { footer in
                result.references.packs += 1
                result.references.bytes += (0..<footer.chunkCount).reduce(0) {
                    $0 + UInt64(footer[$1].plainLength)
                }
                if let table = footer.sources { result.references.sources.insert(table.location) }
            }
        }
        progress.begin("packs", totalBytes: result.packs.copiedBytes)
        let copy = PackCopy(
            from: footers, to: target.objects,
            arrived: ArrivedPacks(present, prefersTarget: target.objects.isNearer(than: source.objects)),
            threads: threads, progress: progress)
        try copy.run(missing, threads: threads)
    }

    private func moveManifests(
        _ items: [ManifestCopy.Item], _ promised: TransferObjects, _ result: inout TransferResult
    ) throws(StoreError) {
        let unknown = items.filter { !promised.contains(manifest: $0.id) }
        let present = try PresentObjects(store: target.objects).manifests(unknown)
        for id in present { try makeDurable(ManifestFormat.key(of: id)) }
        let missing = unknown.filter { !present.contains($0.id) }
        progress.begin("manifests")
        let copy = ManifestCopy(source: source.manifests, target: target.manifests, progress: progress)
        result.manifests.copiedBytes += try copy.run(missing, threads: threads)
        result.manifests.copied += UInt64(missing.count)
        result.manifests.skipped += UInt64(items.count - missing.count)
    }

    private func makeDurable(_ key: ObjectKey) throws(StoreError) {
        do throws(ObjectStoreError) { try target.objects.makeDurable(key) } catch { throw StoreError(error) }
    }

    // MARK: - Log

    private func record(
        _ plan: TransferPlan, _ state: inout LogState
    ) throws(StoreError) -> TransferResult.Branch {
        var commits: UInt64 = 0
        while true {
            var last: TransferPlan.Step?
            let record: LogRecord?
            do throws(RecordLogError) {
                record = try target.log.appendProposal(to: &state) { state throws(RecordLogError) in
                    let step = plan.step(in: state)
                    last = step
                    guard case .record(let proposal) = step else { return nil }
                    return proposal
                }
            } catch { throw StoreError(error) }
            if record != nil {
                commits += 1
                progress.add(items: 1)
                continue
            }
            switch last {
            case .diverged(let head): throw diverged(plan, head)
            case .done(let ahead):
                guard let head = state.head(of: plan.branch, in: dataset) else { break }
                return .init(
                    name: plan.branch, snapshot: head.commit.snapshot, sequence: head.sequence,
                    commits: commits,
                    ahead: ahead)
            case .record, nil: break
            }
            throw StoreError(
                .conflict, "the branch \(plan.branch) was deleted meanwhile", remedy: "Run the command again")
        }
    }

    private func recordTags(_ state: inout LogState, _ result: inout TransferResult) throws(StoreError) {
        for tag in tags {
            var last = MovedTag.Step.absent
            do throws(RecordLogError) {
                _ = try target.log.append(to: &state) { state throws(RecordLogError) in
                    last = tag.step(in: state, dataset: dataset)
                    if case .record(let change) = last { return .tag(change) }
                    return nil
                }
            } catch { throw StoreError(error) }
            switch last {
            case .record: result.tags.append(tag.name)
            case .taken: result.takenTags.append(tag.name)
            case .done, .absent: break
            }
        }
    }

    private func diverged(_ plan: TransferPlan, _ head: LoggedCommit) -> StoreError {
        StoreError(
            .conflict,
            "\(dataset)@\(plan.branch) in \(target.objects.location) is at \(head.commit.snapshot.hex.prefix(12)), "
                + "which is no ancestor of what is to be moved there",
            snapshot: plan.commits.last?.snapshot.hex,
            remedy:
                "Move it to another branch with --branch; or, to give up the commits there, reset that branch "
                + "first with `kaml reset`")
    }
}

extension ObjectStore {
    /// Whether reading here costs no network, and there it does.
    fileprivate func isNearer(than other: any ObjectStore) -> Bool {
        location.hasPrefix("file://") && !other.location.hasPrefix("file://")
    }
}
