import Chunking
package import DatasetStore
package import ObjectStore
import Synchronization
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

/// How much of a plan a cache has.
package struct WarmReport: Sendable {
    package var chunks = 0
    package var presentChunks = 0
    /// Plain bytes.
    package var bytes: UInt64 = 0
    package var presentBytes: UInt64 = 0
    /// Plain bytes of the chunks that this run fetched.
    package var fetchedBytes: UInt64 = 0
    /// What could not be fetched: at most `listed` of them.
    package var failures: [CacheError] = []
    package var failureCount = 0
    /// Somebody asked for an end before all was done.
    package var isInterrupted = false

    package static let listed = 20

    package var isComplete: Bool { presentChunks == chunks }
}

/// What an eviction did.
package struct EvictReport: Sendable {
    package var packs = 0
    /// Bytes of blocks that became free.
    package var bytes: UInt64 = 0
    /// Packs that are in use.
    package var kept = 0
}

extension NodeCache {
    /// How much of a plan the cache has now. Asks no store.
    package func residency(of plan: WarmPlan) -> WarmReport {
        var report = WarmReport()
        report.chunks = plan.chunks
        report.bytes = plan.bytes
        for share in plan.shares {
            let found = residency(of: share.pack, runs: share.runs)
            report.presentChunks += found.presentChunks
            report.presentBytes &+= found.presentBytes
        }
        return report
    }

    /// Fetches what is missing of a plan, pack by pack, `threads` ranges side by side, each chunk verified.
    ///
    /// `progress` counts plain bytes that were missing. `isCancelled` is asked between two ranges; what was fetched
    /// until then stays. What is damaged or gone is told in the report and left out. Throws when going on makes no
    /// sense: the store is away, or the cache's disk takes no more.
    package func warm(
        _ plan: WarmPlan, origin: any ObjectStore, threads: Int = 8, progress: WorkCounter = WorkCounter(),
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws(CacheError) -> WarmReport {
        let before = residency(of: plan)
        progress.begin(
            "warming", totalBytes: plan.bytes > before.presentBytes ? plan.bytes - before.presentBytes : 0)
        let run = WarmRun(self, plan, origin, progress, isCancelled)
        try run.run(threads: max(1, min(64, threads)))
        var report = residency(of: plan)
        report.fetchedBytes = progress.bytes.load(ordering: .relaxed)
        report.failures = run.failures
        report.failureCount = run.failureCount
        report.isInterrupted = !report.isComplete && isCancelled()
        return report
    }

    /// Removes a snapshot's containers. The cache does not know who else would read them: a pack that other snapshots
    /// share goes too, and is fetched again when they need it. What is in use stays.
    package func evict(_ packs: [PackReference]) throws(CacheError) -> EvictReport {
        var report = EvictReport()
        for pack in packs {
            do throws(CacheError) {
                let freed = try evict(pack.id)
                if freed > 0 { report.packs += 1 }
                report.bytes &+= freed
            } catch {
                guard error.code == .inUse else { throw error }
                report.kept += 1
            }
        }
        return report
    }
}

/// Threads that ask the cache for one range after the other.
private final class WarmRun: Sendable {
    /// Stored bytes of one range.
    private static let rangeBytes: UInt64 = 8 << 20

    private struct State {
        var nextShare = 0
        /// Threads that look which ranges a pack needs.
        var planning = 0
        var queue: [Batch] = []
        var failures: [CacheError] = []
        var failureCount = 0
        var fatal: CacheError?
    }

    /// Missing chunks of one container that lie near each other in the pack.
    private struct Batch {
        var container: Container
        var runs: [Range<Int>]
        var bytes: UInt64
    }

    private let cache: NodeCache
    private let plan: WarmPlan
    private let origin: any ObjectStore
    private let progress: WorkCounter
    private let isCancelled: @Sendable () -> Bool
    private let state = Monitor(State())

    init(
        _ cache: NodeCache, _ plan: WarmPlan, _ origin: any ObjectStore, _ progress: WorkCounter,
        _ isCancelled: @escaping @Sendable () -> Bool
    ) {
        self.cache = cache
        self.plan = plan
        self.origin = origin
        self.progress = progress
        self.isCancelled = isCancelled
    }

    var failures: [CacheError] { state.withLock { $0.failures } }
    var failureCount: Int { state.withLock { $0.failureCount } }

    func run(threads: Int) throws(CacheError) {
        let running = Monitor(0)
        for index in 0..<threads {
            running.withLock { $0 += 1 }
            do throws(Errno) {
                try Thread(name: "kaml-warm-\(index)") { [self] in
                    work()
                    running.withLock { $0 -= 1 }
                    running.wake()
                }.detach()
            } catch {
                running.withLock { $0 -= 1 }
                if index == 0 { work() }
                break
            }
        }
        running.wait { $0 == 0 ? () : nil }
        if let error = state.withLock({ $0.fatal }) { throw error }
    }

    private func work() {
        while !isCancelled(), let batch = takeBatch() { fetch(batch) }
    }

    private enum Turn {
        case fetch(Batch)
        case plan(Int)
        case end
    }

    /// The next range, of a pack in hand or of the next one; nil at the end, or after what ends it all.
    private func takeBatch() -> Batch? {
        while true {
            let turn = state.wait { state -> Turn? in
                if state.fatal != nil { return .end }
                if !state.queue.isEmpty { return .fetch(state.queue.removeFirst()) }
                guard state.nextShare < plan.shares.count else { return state.planning > 0 ? nil : .end }
                state.planning += 1
                state.nextShare += 1
                return .plan(state.nextShare - 1)
            }
            switch turn {
            case .fetch(let batch): return batch
            case .end: return nil
            case .plan(let index):
                do throws(CacheError) {
                    // Outside the lock: it may read the pack's footer.
                    let batches = try self.batches(of: plan.shares[index])
                    state.withLock { $0.queue.append(contentsOf: batches) }
                } catch { note(error) }
                state.withLock { $0.planning -= 1 }
                state.wake()
            }
        }
    }

    private func batches(of share: WarmPlan.Share) throws(CacheError) -> [Batch] {
        let runs = share.runs
        // A container that is complete is not opened: a mapping each would be a lot to hold.
        if cache.residency(of: share.pack, runs: runs).isComplete { return [] }
        let container = try cache.container(for: share.pack, origin: origin)
        let footer = try container.footer()
        var batches: [Batch] = []
        var start: UInt64 = 0
        for run in runs {
            for chunk in run where !container.isPresent(chunk) {
                let entry = footer[chunk]
                if batches.isEmpty || entry.frame.upperBound > start &+ Self.rangeBytes {
                    batches.append(Batch(container: container, runs: [], bytes: 0))
                    start = entry.frameOffset
                }
                let last = batches.count - 1
                batches[last].bytes &+= UInt64(entry.plainLength)
                if let end = batches[last].runs.last, end.upperBound == chunk {
                    batches[last].runs[batches[last].runs.count - 1] = end.lowerBound..<(chunk + 1)
                } else {
                    batches[last].runs.append(chunk..<(chunk + 1))
                }
            }
        }
        return batches
    }

    private func fetch(_ batch: Batch) {
        let outcome = Monitor<Result<Void, CacheError>?>(nil)
        cache.fetch(batch.runs.map { FetchPart(container: batch.container, chunks: $0) }) { result in
            outcome.withLock { $0 = result.map { _ in () } }
            outcome.wake()
        }
        switch outcome.wait({ $0 }) {
        case .failure(let error): note(error)
        case .success:
            guard batch.runs.allSatisfy(batch.container.arePresent) else {
                return note(
                    CacheError(
                        .inputOutput, "the cache's disk does not take what was fetched",
                        object: batch.container.pack.key.text,
                        remedy: "Free space on it, or look at its health; what was fetched before stays"))
            }
            progress.add(bytes: batch.bytes, items: UInt64(batch.runs.reduce(0) { $0 + $1.count }))
        }
    }

    /// Goes on after what hurts one pack only.
    private func note(_ error: CacheError) {
        state.withLock { state in
            switch error.code {
            case .damaged, .changed, .notFound:
                state.failureCount += 1
                if state.failures.count < WarmReport.listed { state.failures.append(error) }
            case .inUse, .unusable, .unsupported, .unavailable, .permissionDenied, .inputOutput, .exhausted,
                .closed:
                state.fatal = state.fatal ?? error
            }
        }
        state.wake()
    }
}
