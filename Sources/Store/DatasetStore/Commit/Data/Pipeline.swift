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
    private struct Claims {
        var nextLarge = 0
        var nextSmall = 0
        var current: LargeFile?
        var sequence: UInt64 = 0
    }

    private struct Slots {
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

    private struct Turns {
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
    let root: Int32
    let meter: CommitMeter

    private let claims = Mutex(Claims())
    private let slots = Monitor(Slots())
    private let turns = Mutex(Turns())
    private let slotLimit: Int
    private let margin: Int
    private(set) var results: ReadResults

    init(
        _ tree: SourceTree, _ comparison: Comparison, parent: Snapshot?, _ options: CommitOptions,
        _ parameters: ChunkingParameters, _ context: StoringContext, root: Int32, meter: CommitMeter, threads: Int
    ) {
        self.tree = tree
        self.comparison = comparison
        self.parent = parent
        self.options = options
        self.parameters = parameters
        self.context = context
        self.root = root
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
                if self.workers.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { self.closeOnce() }
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

    private func fail(_ error: StoreError) {
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

    private func release(_ slot: WorkSlot) {
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

    /// Gives the slot the next number and its work; false when there is none now.
    private func claim(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) -> Bool {
        var batch: [(job: ReadJob, place: SourcePlace)] = []
        let claimed = try claims.withLock { claims throws(StoreError) -> Bool in
            while true {
                if let file = claims.current {
                    file.cutNext(into: slot)
                    if slot.isLastOfFile { claims.current = nil }
                    slot.sequence = claims.sequence
                    claims.sequence += 1
                    return true
                }
                if !batch.isEmpty {
                    slot.sequence = claims.sequence
                    claims.sequence += 1
                    return true
                }
                if let next = nextLarge(&claims) {
                    claims.current = try startLarge(next, &batch)
                    continue
                }
                takeSmall(&claims, &batch)
                if !batch.isEmpty { continue }
                guard let late = slots.withLock({ $0.late.popLast() }) else { return false }
                claims.current = try startLarge(late, &batch)
            }
        }
        if !batch.isEmpty { worker.files.fill(slot, batch) }
        return claimed
    }

    private func nextLarge(_ claims: inout Claims) -> LateJob? {
        guard claims.nextLarge < comparison.largeReads.count else { return nil }
        let index = claims.nextLarge
        claims.nextLarge += 1
        let ordinal = UInt64(comparison.largeReads[index])
        let job = ReadJob(isSmallList: false, index: index, ordinal: ordinal)
        return LateJob(job: job, place: tree.locate(ordinal), tries: 0)
    }

    private func takeSmall(_ claims: inout Claims, _ batch: inout [(job: ReadJob, place: SourcePlace)]) {
        var bytes: UInt64 = 0
        while claims.nextSmall < comparison.smallReads.count, batch.count < 512 {
            let index = claims.nextSmall
            let ordinal = UInt64(comparison.smallReads[index])
            let place = tree.locate(ordinal)
            let size = tree.node(place).size + 1
            if bytes + size > UInt64(WorkSlot.target), !batch.isEmpty { return }
            bytes += size
            claims.nextSmall += 1
            batch.append((ReadJob(isSmallList: true, index: index, ordinal: ordinal), place))
        }
    }

    /// Opens a file that is large, or that was found to have another size than the scan said. Small ones go
    /// to `batch`; nil also when it cannot be read, which is recorded.
    private func startLarge(
        _ late: LateJob, _ batch: inout [(job: ReadJob, place: SourcePlace)]
    ) throws(StoreError) -> LargeFile? {
        guard late.tries < 3 else {
            record(late, .changing)
            return nil
        }
        do throws(Errno) {
            let directory = try SourceFiles.openDirectory(tree.directories[late.place.directory].keyPath, below: root)
            let arena = tree.arena(late.place)
            let name = arena.cName(arena.nodes[late.place.index])
            let file = SourceFile(try FileDescriptor.openEntry(name, in: directory.rawValue))
            let status = try file.descriptor.status()
            guard status.kind == .regular else { throw .noEntry }
            if status.size <= UInt64(parameters.wholeLimit) {
                batch.append((late.job, late.place))
                return nil
            }
            file.descriptor.adviseSequential()
            let attributes = try SourceFiles.attributes(of: file.descriptor)
            let kind = try classify(file, arena.nodes[late.place.index], arena, status.size)
            let old = try oldVersion(late.job.ordinal)
            switch old {
            case .success(let old):
                return LargeFile(
                    late.job, late.place, file, status, attributes, kind, old, parameters, tries: late.tries)
            case .failure(let error): fail(error)
            }
            return nil
        } catch {
            let vanished = error == .noEntry || error == .loop || error == .notDirectory
            record(late, vanished ? .vanished : .unreadable(error))
            return nil
        }
    }

    private func record(_ late: LateJob, _ kind: SourceProblem.Kind) {
        pendingProblems.withLock { $0.append((late, kind)) }
    }

    /// Problems found while claiming, which no numbered piece carries.
    private let pendingProblems = Mutex<[(late: LateJob, kind: SourceProblem.Kind)]>([])

    private func classify(
        _ file: SourceFile, _ node: SourceNode, _ arena: SourceArena, _ size: UInt64
    ) throws(Errno) -> ChunkerKind {
        let head = UnsafeMutableRawBufferPointer.allocate(byteCount: FileClassifier.headSize, alignment: 64)
        defer { head.deallocate() }
        let count = try file.descriptor.read(into: head, at: 0)
        return FileClassifier(parameters).classify(
            size: size, name: ByteString(arena.name(node)),
            head: UnsafeRawBufferPointer(rebasing: head[..<count]))
    }

    private func oldVersion(_ ordinal: UInt64) throws(Errno) -> Result<OldVersion?, StoreError> {
        let known = comparison.parentOrdinals[Int(ordinal)]
        guard let parent, known != Comparison.noParent else { return .success(nil) }
        do throws(StoreError) {
            guard var place = try parent.place(ofOrdinal: UInt64(known)) else { return .success(nil) }
            place = try parent.resolve(place)
            return .success(OldVersion(place.shard.pointee.view.entry(place.index), context.catalog))
        } catch { return .failure(error) }
    }

    // MARK: - In order

    /// Hands a worked-on slot over. The thread that finds the next number appends all that is ready.
    private func finish(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        var next = turns.withLock { turns -> WorkSlot? in
            turns.ready[slot.sequence] = slot
            guard !turns.isTaken, let next = turns.ready.removeValue(forKey: turns.next) else { return nil }
            turns.isTaken = true
            return next
        }
        while let ready = next {
            try append(ready, &worker)
            release(ready)
            next = turns.withLock { turns in
                turns.next += 1
                let next = turns.ready.removeValue(forKey: turns.next)
                if next == nil { turns.isTaken = false }
                return next
            }
        }
    }

    private func append(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        if slot.large != nil { try appendLarge(slot, &worker) } else { try appendSmall(slot) }
        meter.tick()
    }

    private func appendSmall(_ slot: WorkSlot) throws(StoreError) {
        for file in slot.files {
            if file.retries > 0 { results.changedWhileRead += 1 }
            switch file.outcome {
            case .empty: results.set(file.job, .empty)
            case .symlink(let target): results.set(file.job, .symlink(target))
            case .chunk(let index):
                let place = try results.packer.place(slot.chunks[index], of: slot, context)
                results.set(file.job, .chunk(place))
            case .otherSize:
                slots.withLock { $0.late.append(LateJob(job: file.job, place: file.place, tries: 0)) }
                continue
            case .failed(let kind):
                results.set(file.job, .failed)
                results.problems.append(SourceProblem(path: tree.displayPath(file.place), kind: kind))
                continue
            }
            take(file.status, file.attributes, file.job, file.place)
        }
        meter.add(files: UInt64(slot.files.count), bytes: slot.chunks.reduce(0) { $0 + $1.length })
    }

    /// What the file said when it was read counts, not what the scan saw.
    private func take(
        _ status: FileStatus?, _ attributes: [ExtendedAttribute], _ job: ReadJob, _ place: SourcePlace
    ) {
        guard let status else { return }
        tree.arena(place).nodes[place.index].update(status)
        if !attributes.isEmpty { results.attributes[job.ordinal] = attributes }
    }

    private func appendLarge(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        guard let file = slot.large else { return }
        if !file.hasChanged.load(ordering: .relaxed) {
            for draft in slot.chunks { try file.assembly.append(draft, of: slot, file, context, &worker.maker) }
            meter.add(files: 0, bytes: slot.length)
        }
        guard slot.isLastOfFile else { return }
        let now = try? file.file.descriptor.status()
        if file.hasChanged.load(ordering: .relaxed) || now.map({ !$0.isSameVersion(as: file.status) }) ?? true {
            file.assembly.abandon()
            results.changedWhileRead += 1
            let late = LateJob(job: file.job, place: file.place, tries: file.tries + 1)
            slots.withLock { $0.late.append(late) }
            return
        }
        let contents = try file.assembly.finish(file, context, &worker.maker)
        results.newBytes += file.assembly.newBytes
        results.prefixFrames += file.assembly.prefixFrames
        results.contents.append(contents)
        results.set(file.job, .large(results.contents.count - 1))
        take(file.status, file.attributes, file.job, file.place)
        meter.add(files: 1, bytes: 0)
    }

    /// Everything that could not be read. Call when all threads have ended.
    func collectProblems() -> [SourceProblem] {
        for (late, kind) in pendingProblems.withLock({ $0 }) {
            results.set(late.job, .failed)
            results.problems.append(SourceProblem(path: tree.displayPath(late.place), kind: kind))
        }
        return results.problems
    }
}
