import DatasetStore
import Synchronization
import System
import Telemetry

/// One call of `fetch`: a slot for each chunk, filled by whichever threads fetch them, and a completion that
/// the last of them calls.
@safe final class FetchRequest: @unchecked Sendable {
    // Sendable: each slot is written by the one thread that settles its chunk, before it counts `remaining`
    // down; whoever counts to zero reads them all.
    let parts: [ResolvedPart]
    /// Whether somebody reads what comes, which may then have to stay in memory.
    var holdsAnswers: Bool { use != .filling }
    let entries: [ChunkEntry]
    /// Where each part's slots start.
    private let starts: [Int]
    private let slots: UnsafeMutablePointer<Slot>
    /// Slots to be settled, and one for the thread that makes the request.
    private let remaining = Atomic<Int>(1)
    private let failure = Monitor<CacheError?>(nil)
    private let completion: @Sendable (Result<FetchedParts, CacheError>) -> Void
    private let use: Use
    /// The reader's, for whatever thread fetches for it.
    let span = Trace.current

    /// What the chunks are for.
    enum Use {
        /// The completion reads them.
        case answer
        /// Whoever made the request reads them after the completion, so memory must outlive the call of `settle`.
        case later
        /// To be in the container: nobody reads them.
        case filling
    }

    @safe private enum Slot {
        case waiting
        /// Read from the container.
        case container
        /// Set by the last thread only, right before it calls the completion: valid for the length of that call.
        case borrowed(UnsafeRawBufferPointer)
        /// In a block that this keeps.
        case held(HeldChunk)
        /// A copy of the request's own.
        case owned(UnsafeMutableRawBufferPointer)
        case failed(CacheError)
    }

    /// What became of a chunk.
    @safe enum Outcome {
        /// It is in the container; its bytes are in memory too, for the length of the call, unless they went by.
        case stored(UnsafeRawBufferPointer?)
        /// The disk did not take it: its bytes are valid for the length of the call.
        case memory(UnsafeRawBufferPointer)
        /// In a block, whether the disk took it or not.
        case held(HeldChunk)
        case failed(CacheError)

        /// The same without the container.
        var inMemory: Outcome {
            if case .stored(let plain?) = self { return unsafe .memory(plain) }
            return self
        }
    }

    init(
        _ parts: [ResolvedPart], for use: Use = .answer,
        completion: @escaping @Sendable (Result<FetchedParts, CacheError>) -> Void
    ) {
        entries = parts.flatMap(\.entries)
        self.parts = parts
        self.use = use
        self.completion = completion
        var starts: [Int] = []
        var next = 0
        for part in parts {
            starts.append(next)
            next += part.chunks.count
        }
        self.starts = starts
        unsafe slots = .allocate(capacity: max(1, entries.count))
        unsafe slots.initialize(repeating: .waiting, count: entries.count)
    }

    deinit {
        for index in 0..<entries.count {
            if case .owned(let copy) = unsafe slots[index] { unsafe copy.deallocate() }
        }
        unsafe slots.deinitialize(count: entries.count)
        unsafe slots.deallocate()
    }

    /// A chunk that was there already.
    func settleReady(_ slot: Int) { if !isOpen(slot) { unsafe slots[slot] = .container } }

    /// A chunk that was in memory already.
    func settleReady(_ slot: Int, _ held: HeldChunk) { if !isOpen(slot) { unsafe slots[slot] = .held(held) } }

    /// Decrypts the chunks of sealed containers that are at hand. Before anybody else knows the request, and on the
    /// thread that asks: it needs no store, and does not wait for threads that do.
    func openSealed() {
        var slot = 0
        for part in parts {
            defer { slot += part.chunks.count }
            guard part.container.isSealed, let disk = part.container.disk else { continue }
            for (index, chunk) in part.chunks.enumerated() where part.container.isPresent(chunk) {
                let entry = entries[slot + index]
                guard !part.hasHint || part.container.lists(chunk, entry) else { continue }
                let plain = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: Int(entry.plainLength), alignment: 64)
                if unsafe disk.read(chunk, into: plain, at: entry.containerOffset) {
                    unsafe slots[slot + index] = .owned(plain)
                } else {
                    // It is hashed, and fetched anew, by the job that it becomes.
                    part.container.distrust(chunk)
                    unsafe plain.deallocate()
                }
            }
        }
    }

    /// Whether the chunk of a slot is in memory of the request's own.
    func isOpen(_ slot: Int) -> Bool {
        if case .owned = unsafe slots[slot] { true } else { false }
    }

    /// A chunk that somebody will settle. Before `arm` only.
    func expect() { remaining.wrappingAdd(1, ordering: .relaxed) }

    /// The request is set up: from here on its completion may be called, perhaps by this call.
    func arm() { countDown() }

    func settle(_ slot: Int, _ outcome: Outcome) {
        switch outcome {
        case .stored: unsafe slots[slot] = .container
        // Always a copy: whoever counts down last may be another thread, which still reads after this one has gone on.
        case .memory(let plain): if use != .filling { unsafe slots[slot] = unsafe .owned(copy(plain)) }
        case .held(let held): if use != .filling { unsafe slots[slot] = .held(held) }
        case .failed(let error):
            unsafe slots[slot] = .failed(error)
            failure.withLock { $0 = $0 ?? error }
        }
        countDown {
            // Nobody else is left, so memory that is at hand will do: it saves the mapping's page faults.
            if case .stored(let plain?) = outcome, use == .answer {
                unsafe slots[slot] = unsafe .borrowed(plain)
            }
        }
    }

    private func countDown(last: () -> Void = {}) {
        guard remaining.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        last()
        if let error = failure.withLock({ $0 }) {
            completion(.failure(error))
        } else {
            completion(.success(FetchedParts(request: self)))
        }
    }

    /// How many bytes of a slot's chunk its reader takes.
    func wanted(_ slot: Int) -> Int {
        guard use != .filling else { return 0 }
        let part = (starts.lastIndex { $0 <= slot }).map { parts[$0] }
        return part?.wanted(of: entries[slot]) ?? 0
    }

    func chunks(part: Int) -> Range<Int> { parts.indices.contains(part) ? parts[part].chunks : 0..<0 }

    func entry(part: Int, chunk: Int) -> ChunkEntry? { slot(part, chunk).map { entries[$0] } }

    private func slot(_ part: Int, _ chunk: Int) -> Int? {
        guard chunks(part: part).contains(chunk) else { return nil }
        return starts[part] + chunk - parts[part].chunks.lowerBound
    }

    func bytes(part: Int, chunk: Int) -> UnsafeRawBufferPointer {
        let nothing = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        guard let slot = slot(part, chunk) else { return unsafe nothing }
        switch unsafe slots[slot] {
        case .waiting, .failed: return unsafe nothing
        case .container:
            let entry = entries[slot]
            return unsafe UnsafeRawBufferPointer(
                start: parts[part].container.bytes + Int(entry.containerOffset), count: Int(entry.plainLength)
            )
        case .borrowed(let plain): return unsafe plain
        case .held(let held): return unsafe held.bytes
        case .owned(let plain): return UnsafeRawBufferPointer(plain)
        }
    }

    /// How a slot ended, for a request that keeps its memory.
    @safe enum Ending {
        case container
        case memory(UnsafeRawBufferPointer)
        case failed(CacheError)
    }

    func ending(_ slot: Int) -> Ending {
        switch unsafe slots[slot] {
        case .container: .container
        case .owned(let plain): unsafe .memory(UnsafeRawBufferPointer(plain))
        case .borrowed(let plain): unsafe .memory(plain)
        case .held(let held): unsafe .memory(held.bytes)
        case .failed(let error): .failed(error)
        case .waiting:
            .failed(CacheError(.inputOutput, "the fetch ended early", remedy: "Read again, and report this"))
        }
    }

    private func copy(_ plain: UnsafeRawBufferPointer) -> UnsafeMutableRawBufferPointer {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: plain.count, alignment: 64)
        unsafe copy.copyMemory(from: plain)
        return unsafe copy
    }
}
