import CKamlFeed
import DatasetFS
import Synchronization
import Telemetry
import System

/// A batch whose bytes are on their way into its slot: read by read, from whatever threads they come on.
///
/// Used again and again by its stream, so that making a batch allocates nothing.
@safe final class PendingBatch: @unchecked Sendable {
    // Sendable: the maker's fields are the stream's thread's; `pieces` are written before their read begins, and each is
    // touched by its read's completion alone; the rest is atomic.

    /// One read: where its bytes go.
    @safe struct Piece {
        fileprivate var target: UnsafeMutableRawPointer
        fileprivate var count: Int
        fileprivate unowned(unsafe) var batch: PendingBatch
        /// For messages.
        fileprivate var file: Inode
        fileprivate var record: UInt64
    }

    /// Why a batch cannot be given out.
    enum Failure {
        case read(Inode, record: UInt64, Errno)
        case told(FeedFailure)
    }

    /// DatasetFS answers at most so much at once.
    private static let largestRead = 1 << 20

    // Of the maker.
    var position: UInt64 = 0
    var generation: UInt16 = 0
    var slot: SlotPool.Slot?
    var descriptor = kaml_descriptor()
    /// Containers whose bytes the batch names.
    var lent: [LentContainers.Index] = []
    /// What it counts for in the stream's credits.
    var charge = 0
    var mappedBytes = 0
    var copiedBytes = 0
    /// Monotonic nanoseconds.
    var began: UInt64 = 0
    /// From the begin of the batch to its release.
    var span: TraceSpan?

    private var pieces: UnsafeMutablePointer<Piece>
    private var capacity: Int
    private var used = 0
    /// Reads that are under way, and one for the maker.
    private let pending = Atomic<Int>(0)
    private let failure = Monitor<Failure?>(nil)
    /// To be told when the last read came in after `seal`.
    private let arrival: StreamWaker

    init(_ arrival: StreamWaker) {
        self.arrival = arrival
        capacity = 64
        unsafe pieces = .allocate(capacity: 64)
    }

    deinit {
        unsafe pieces.deinitialize(count: used)
        unsafe pieces.deallocate()
    }

    /// Before the first read of a batch. `reads`: of so many runs, with so many bytes in all.
    func begin(reads: Int, bytes: Int) {
        unsafe pieces.deinitialize(count: used)
        used = 0
        // Each read of more than DatasetFS answers takes several.
        let wanted = reads + bytes / Self.largestRead
        if wanted > capacity {
            unsafe pieces.deallocate()
            capacity = wanted
            unsafe pieces = .allocate(capacity: wanted)
        }
        failure.withLock { $0 = nil }
        pending.store(1, ordering: .relaxed)
        // Until the last read has come in, whatever becomes of the stream.
        _ = unsafe Unmanaged.passRetained(self)
    }

    /// Has `count` bytes of a file read to `target`, in the batch's slot. What is at hand is copied by this call.
    func read(
        _ files: DatasetFS, _ file: Inode, at offset: UInt64, to target: UnsafeMutableRawPointer, count: Int,
        record: UInt64
    ) {
        var done = 0
        while done < count {
            let length = min(count - done, Self.largestRead)
            let piece = unsafe pieces + used
            unsafe piece.initialize(
                to: Piece(target: target + done, count: length, batch: self, file: file, record: record))
            used += 1
            pending.wrappingAdd(1, ordering: .relaxed)
            files.read(
                file, offset: offset + UInt64(done), length: length,
                completion: unsafe ReadCompletion(context: piece, isOneOfMany: true, deliver: Self.deliver))
            done += length
        }
    }

    /// After the last read was begun.
    func seal() { countDown() }

    /// Whether all has come in.
    var isDone: Bool { pending.load(ordering: .acquiring) == 0 }

    /// Why the batch cannot be given out; to be asked once it is done.
    var problem: Failure? { failure.withLock { $0 } }

    func fail(_ problem: Failure) { failure.withLock { $0 = $0 ?? problem } }

    private func countDown() {
        guard pending.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        arrival.newsCame()
        unsafe Unmanaged.passUnretained(self).release()
    }

    private static let deliver: ReadCompletion.Deliver = { context, segments, count, errno in
        let piece = unsafe context.assumingMemoryBound(to: Piece.self)
        let batch = unsafe piece.pointee.batch
        var target = unsafe piece.pointee.target
        var missing = unsafe piece.pointee.count
        var error = errno > 0 ? Errno(rawValue: errno) : nil
        if error == nil, let segments = unsafe segments?.assumingMemoryBound(to: ReadSegment.self) {
            for index in 0..<count {
                let segment = unsafe segments[index]
                guard let base = unsafe segment.base, segment.length <= missing else { break }
                guard unsafe copyFromMapping(base, to: target, count: segment.length) else {
                    error = .inputOutput
                    break
                }
                unsafe target += segment.length
                missing -= segment.length
            }
        }
        // Shorter than the index says: the file is not what was indexed.
        if error == nil, missing > 0 { error = .stale }
        if let error {
            unsafe batch.fail(.read(piece.pointee.file, record: piece.pointee.record, error))
        }
        batch.countDown()
    }
}
