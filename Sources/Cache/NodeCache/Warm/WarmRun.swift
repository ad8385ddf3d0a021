import DatasetStore
import ObjectStore
import Synchronization
import System

/// Threads that ask the cache for one range after the other.
final class WarmRun: Sendable {
    /// Bytes of one range, stored and plain ones.
    private static let rangeBytes: UInt64 = 8 << 20
    /// Small imported objects that are fetched side by side, a request each.
    private static let objects = 16
    /// So many refusals before anything came mean that everything will be refused.
    private static let refusals = 16

    private struct State {
        var nextShare = 0
        /// Threads that look which ranges a pack needs.
        var planning = 0
        var queue: [Batch] = []
        var failures: [CacheError] = []
        var failureCount = 0
        var hasFetched = false
        var fatal: CacheError?

        mutating func add(_ error: CacheError) {
            failureCount += 1
            if failures.count < WarmReport.listed { failures.append(error) }
        }
    }

    /// Missing chunks of one container that lie near each other in the pack.
    private struct Batch {
        var container: Container
        var runs: [Range<Int>] = []
        /// Plain bytes.
        var bytes: UInt64 = 0
        var chunks = 0

        /// What is asked of the cache: one range, or each object by itself.
        var requests: [[FetchPart]] {
            guard container.pack.holdsReferences, container.pack.layout == .slots else {
                return [runs.map { FetchPart(container: container, chunks: $0) }]
            }
            return runs.joined().map { [FetchPart(container: container, chunks: $0..<($0 + 1))] }
        }
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
        let use = ContainerUse(container)
        defer { withExtendedLifetime(use) {} }
        let footer = try container.footer()
        let isScattered = share.pack.holdsReferences && share.pack.layout == .slots
        var batches: [Batch] = []
        var start: UInt64 = 0
        for run in runs {
            for chunk in run where !container.isPresent(chunk) {
                let entry = footer[chunk]
                // Each small object begins at 0 of itself.
                let isFull =
                    isScattered
                    ? (batches.last?.chunks ?? 0) >= Self.objects
                    : entry.frame.upperBound > start &+ Self.rangeBytes
                let plain = (batches.last?.bytes ?? 0) &+ UInt64(entry.plainLength)
                if batches.isEmpty || isFull || plain > 2 * Self.rangeBytes {
                    batches.append(Batch(container: container))
                    start = entry.frameOffset
                }
                let last = batches.count - 1
                batches[last].bytes &+= UInt64(entry.plainLength)
                batches[last].chunks += 1
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
        let requests = batch.requests
        let answers = Monitor((left: requests.count, failures: [CacheError]()))
        for parts in requests {
            cache.fill(parts) { result in
                answers.withLock { answers in
                    answers.left -= 1
                    if case .failure(let error) = result { answers.failures.append(error) }
                }
                answers.wake()
            }
        }
        let failures = answers.wait { $0.left == 0 ? $0.failures : nil }
        count(batch)
        for error in failures { note(error) }
        if failures.isEmpty, !batch.runs.allSatisfy(batch.container.arePresent) {
            note(
                CacheError(
                    .inputOutput,
                    "the cache does not take what was fetched: it is at its limit, or its disk fails",
                    object: batch.container.pack.key.text,
                    remedy:
                        "Raise the cache's limits, evict or unpin other snapshots, or look at its disk; what was fetched before stays"
                ))
        }
    }

    /// Counts what is there now of a batch of which nothing was: one bad chunk does not undo the others.
    private func count(_ batch: Batch) {
        let use = ContainerUse(batch.container)
        defer { withExtendedLifetime(use) {} }
        let present = batch.runs.joined().filter(batch.container.isPresent)
        if present.isEmpty { return }
        state.withLock { $0.hasFetched = true }
        let footer = batch.container.localFooter()
        let bytes =
            present.count == batch.chunks
            ? batch.bytes : present.reduce(0) { $0 &+ UInt64(footer?[$1].plainLength ?? 0) }
        progress.add(bytes: bytes, items: UInt64(present.count))
    }

    /// Goes on after what hurts one pack or one object only.
    private func note(_ error: CacheError) {
        state.withLock { state in
            switch error.code {
            case .damaged, .changed, .notFound: state.add(error)
            case .permissionDenied:
                // An object in an archive, or one with rules of its own, says nothing of the others.
                state.add(error)
                if !state.hasFetched, state.failureCount >= Self.refusals {
                    state.fatal = state.fatal ?? error
                }
            case .inUse, .unusable, .unsupported, .unavailable, .inputOutput, .exhausted, .closed:
                state.fatal = state.fatal ?? error
            }
        }
        state.wake()
    }
}
