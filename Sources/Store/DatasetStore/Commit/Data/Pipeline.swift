import Chunking
import ObjectStore
import Synchronization
import System

/// The outcome of one file that was read.
enum ReadOutcome: Sendable {
    case pending
    case empty
    case chunk(ChunkPlace)
    /// Index in the results' large contents.
    case large(Int)
    case symlink(ByteString)
    /// Left out.
    case failed
}

/// What reading gave, for the manifest.
struct ReadResults: ~Copyable {
    var small: [ReadOutcome]
    var large: [ReadOutcome]
    var contents: [LargeContents] = []
    var attributes: [UInt64: [ExtendedAttribute]] = [:]
    var problems: [SourceProblem] = []
    var changedWhileRead: UInt64 = 0
    var newBytes: UInt64 = 0
    var prefixFrames: UInt64 = 0
    var packer = SmallPacker()

    init(small: Int, large: Int) {
        self.small = Array(repeating: .pending, count: small)
        self.large = Array(repeating: .pending, count: large)
    }

    mutating func set(_ job: ReadJob, _ outcome: ReadOutcome) {
        if job.isSmallList { small[job.index] = outcome } else { large[job.index] = outcome }
    }
}

/// Reads, hashes, compresses and packs the files of a commit.
///
/// Workers claim numbered pieces of work (a batch of small files, or a part of the one large file that is being
/// cut), work on them at the same time, and whoever finishes the next number appends what is ready to the
/// packs, in order. A fixed number of buffers goes round, which bounds memory and what waits for its turn.
final class Pipeline: @unchecked Sendable {
    // Sendable: `results` is touched by the thread that has the turn, and by the caller when all have ended.
    struct Claims {
        var nextLarge = 0
        var nextSmall = 0
        var current: LargeFile?
        var sequence: UInt64 = 0
    }

    struct Slots {
        var free: [WorkSlot] = []
        var made = 0
        /// Slots that somebody holds, which may still lead to more work.
        var inUse = 0
        var late: [LateJob] = []
        var error: StoreError?
    }

    struct LateJob {
        var job: ReadJob
        var place: SourcePlace
        var tries: Int
    }

    struct PendingProblem {
        var late: LateJob
        var kind: SourceProblem.Kind
    }

    struct Turns {
        var next: UInt64 = 0
        var ready: [UInt64: WorkSlot] = [:]
        var isTaken = false
    }

    let tree: SourceTree
    let comparison: Comparison
    let parent: Snapshot?
    let options: CommitOptions
    let parameters: ChunkingParameters
    let context: StoringContext
    let access: any SourceAccess
    let meter: CommitMeter

    let claims = Mutex(Claims())
    let slots = Monitor(Slots())
    let turns = Mutex(Turns())
    /// Problems that no numbered piece carries.
    let pendingProblems = Mutex<[PendingProblem]>([])
    private let slotLimit: Int
    private let margin: Int
    var results: ReadResults

    init(
        _ tree: SourceTree, _ comparison: Comparison, parent: Snapshot?, _ options: CommitOptions,
        _ parameters: ChunkingParameters, _ context: StoringContext, _ access: any SourceAccess,
        meter: CommitMeter,
        threads: Int
    ) {
        self.tree = tree
        self.comparison = comparison
        self.parent = parent
        self.options = options
        self.parameters = parameters
        self.context = context
        self.access = access
        self.meter = meter
        slotLimit = threads * 2 + 1
        margin = max(parameters.maximumChunk, parameters.fixedSize) + (64 << 10)
        results = ReadResults(small: comparison.smallReads.count, large: comparison.largeReads.count)
    }

    /// Runs the workers and the publisher to the end. All packs are published when it returns.
    func run(threads: Int) throws(StoreError) {
        try runThreads(
            threads + 1, name: "kaml-commit",
            { index in
                // Two threads sync packs, this one and the caller's; they sleep most of the time.
                if index == threads { return self.context.publisher.run() }
                self.workers.wrappingAdd(1, ordering: .acquiringAndReleasing)
                self.work()
                if self.workers.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
                    self.closeOnce()
                }
            }, meanwhile: context.publisher.run)
        if let error = slots.withLock({ $0.error }) {
            results.packer.abandon()
            claims.withLock { $0.current?.assembly.abandon() }
            throw error
        }
        try context.publisher.throwIfFailed()
        results.newBytes += results.packer.newBytes
        results.prefixFrames += results.packer.prefixFrames
    }

    private let isClosed = Atomic(false)
    /// Workers that have started and not ended. One ends when there is no work and nobody is at any, so when the
    /// last one ends all is done, whatever those do that start after it.
    private let workers = Atomic<Int>(0)

    /// The last worker ends the last pack and lets the publishers go.
    private func closeOnce() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        do throws(StoreError) {
            if slots.withLock({ $0.error }) == nil { try results.packer.end(context) }
        } catch { fail(error) }
        context.publisher.close()
    }

    func fail(_ error: StoreError) {
        slots.withLock { $0.error = $0.error ?? error }
        context.publisher.cancel(error)
        slots.wake()
    }

    // MARK: - Workers

    private func work() {
        var worker = PieceWorker(self)
        while let slot = acquire() {
            do throws(StoreError) {
                guard try claim(slot, &worker) else {
                    release(slot)
                    if waitForMore() { continue }
                    return
                }
                try worker.process(slot)
                try finish(slot, &worker)
            } catch {
                fail(error)
                return
            }
        }
    }

    private func acquire() -> WorkSlot? {
        slots.wait { state -> WorkSlot?? in
            if state.error != nil { return .some(nil) }
            if let slot = state.free.popLast() {
                state.inUse += 1
                return slot
            }
            guard state.made < slotLimit else { return nil }
            state.made += 1
            state.inUse += 1
            return WorkSlot(margin: margin)
        }
    }

    func release(_ slot: WorkSlot) {
        slot.reset()
        slots.withLock { state in
            state.free.append(slot)
            state.inUse -= 1
        }
        slots.wake()
    }

    /// Waits while others may still find that a file must be read again; false when all is done.
    private func waitForMore() -> Bool {
        slots.wait { state in
            if state.error != nil { return false }
            if !state.late.isEmpty { return true }
            return state.inUse == 0 ? false : nil
        }
    }
}
