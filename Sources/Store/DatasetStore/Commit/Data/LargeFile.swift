import Chunking
import Glibc
import Synchronization
import System

/// A large file on its way through the pipeline: cut front to back under the claims' lock, hashed and encoded
/// by whoever is free, put together in order.
final class LargeFile: @unchecked Sendable {
    // Sendable: `cutter` and the positions are touched under the claims' lock, `assembly` by the thread that
    // has the assembly's turn; the rest is immutable or atomic.
    let job: ReadJob
    let place: SourcePlace
    let file: any SourceFile
    /// As it was when the file was opened.
    let status: FileStatus
    let attributes: [ExtendedAttribute]
    let kind: ChunkerKind
    let old: OldVersion?
    let similarity: SimilarityIndex?
    let tries: Int
    private let parameters: ChunkingParameters

    private var cutter: ChunkCutter
    private var position: UInt64 = 0
    /// Ends of the data or the hole that `position` lies in, as far as asked.
    private var dataEnd: UInt64 = 0
    private var holeEnd: UInt64 = 0

    var assembly: LargeAssembly
    /// The file is not what it was when it was opened: what follows is skipped, and it is read again.
    let hasChanged = Atomic(false)
    /// It cannot be read at all.
    private let readError = Mutex<Errno?>(nil)
    /// Chunks in a row that zstd did not shorten.
    let unpaid = Atomic<Int>(0)

    init(
        _ job: ReadJob, _ place: SourcePlace, _ file: any SourceFile, _ status: FileStatus,
        _ attributes: [ExtendedAttribute], _ kind: ChunkerKind, _ old: OldVersion?,
        _ parameters: ChunkingParameters,
        tries: Int
    ) {
        self.job = job
        self.place = place
        self.file = file
        self.status = status
        self.attributes = attributes
        self.kind = kind
        self.old = old
        self.parameters = parameters
        self.tries = tries
        similarity = old.map { SimilarityIndex($0) }
        cutter = ChunkCutter(kind, parameters, fileSize: status.size)
        assembly = LargeAssembly(size: status.size)
    }

    var isCut: Bool { position == status.size }
    var failure: Errno? { readError.withLock { $0 } }

    /// The file cannot be read: that is what is told of it, whatever else happened.
    func fail(_ error: Errno) {
        readError.withLock { $0 = $0 ?? error }
        hasChanged.store(true, ordering: .relaxed)
    }

    private func endedEarly() { hasChanged.store(true, ordering: .relaxed) }

    /// Cuts the next piece into `slot`: a hole, or about `WorkSlot.target` bytes of data. Of FIXED files the
    /// bytes are not read yet, since their cuts do not depend on them.
    func cutNext(into slot: WorkSlot) {
        slot.large = self
        slot.start = position
        do throws(Errno) {
            if try !cutHole(into: slot), try !cutData(into: slot) {
                endedEarly()
                position = status.size
            }
        } catch {
            fail(error)
            position = status.size
        }
        slot.length = position - slot.start
        slot.isLastOfFile = isCut
    }

    /// A run of chunks that lie wholly in a hole. The cuts are those that zeros would get.
    private func cutHole(into slot: WorkSlot) throws(Errno) -> Bool {
        try findHole()
        guard holeEnd > position else { return false }
        let start = position
        let reachesEnd = holeEnd == status.size
        if kind == .fixed {
            let size = UInt64(parameters.fixedSize)
            position = reachesEnd ? status.size : position + (holeEnd - position) / size * size
        } else {
            let zeros = unsafe ZeroRun.bytes(cutter.lookahead)
            // Bounded, so that other threads get the lock.
            for _ in 0..<256 where position < holeEnd {
                let left = holeEnd - position
                let isEnd = reachesEnd && left <= UInt64(zeros.count)
                guard isEnd || left >= UInt64(zeros.count) else { break }
                let part = unsafe isEnd ? UnsafeRawBufferPointer(rebasing: zeros[..<Int(left)]) : zeros
                guard let cut = unsafe cutter.nextCut(in: part, isEnd: isEnd) else { break }
                position += UInt64(cut)
            }
        }
        guard position > start else { return false }
        slot.chunks.append(
            ChunkDraft(hash: .zero, plain: 0..<0, fileOffset: start, length: position - start, content: .hole)
        )
        return true
    }

    private func findHole() throws(Errno) {
        guard position >= dataEnd, position >= holeEnd else { return }
        let data = try file.nextData(from: position) ?? status.size
        holeEnd = min(data, status.size)
        guard holeEnd < status.size else { return }
        dataEnd = max(holeEnd + 1, try file.nextHole(from: holeEnd) ?? status.size)
    }

    /// False when the file is shorter than it was.
    private func cutData(into slot: WorkSlot) throws(Errno) -> Bool {
        let left = status.size - position
        if kind == .fixed {
            let size = parameters.fixedSize
            let wanted = max(1, WorkSlot.target / size) * size
            position += min(left, UInt64(wanted))
            return true
        }
        let capacity = unsafe min(slot.plain.count, WorkSlot.target + cutter.lookahead)
        let wanted = Int(min(left, UInt64(capacity)))
        let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: slot.plain[..<wanted])
        guard try unsafe file.readNext(into: buffer, at: position) == wanted else { return false }
        let isEnd = UInt64(wanted) == left
        var done = 0
        while done < min(wanted, WorkSlot.target) {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
            guard let cut = unsafe cutter.nextCut(in: rest, isEnd: isEnd) else { break }
            slot.chunks.append(
                ChunkDraft(
                    hash: .zero, plain: done..<(done + cut), fileOffset: position + UInt64(done),
                    length: UInt64(cut), content: .hole))
            done += cut
        }
        position += UInt64(done)
        return true
    }

    /// Reads a piece of a FIXED file; false when it is shorter than it was, or cannot be read.
    func readFixed(into slot: WorkSlot) -> Bool {
        let count = Int(slot.length)
        let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: slot.plain[..<count])
        do throws(Errno) {
            guard try unsafe file.read(into: buffer, at: slot.start) == count else {
                endedEarly()
                return false
            }
        } catch {
            fail(error)
            return false
        }
        for start in stride(from: 0, to: count, by: parameters.fixedSize) {
            let end = min(count, start + parameters.fixedSize)
            slot.chunks.append(
                ChunkDraft(
                    hash: .zero, plain: start..<end, fileOffset: slot.start + UInt64(start),
                    length: UInt64(end - start), content: .hole))
        }
        return true
    }
}

/// Zeros to cut, for holes.
enum ZeroRun {
    private static let count = ChunkingParameters.sizeLimit + (64 << 10)
    nonisolated(unsafe) private static let memory: UnsafeRawBufferPointer = {
        // calloc: pages that nobody writes all share the kernel's zero page.
        guard let base = unsafe calloc(count, 1) else {
            return unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return unsafe UnsafeRawBufferPointer(start: base, count: count)
    }()

    static func bytes(_ wanted: Int) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: memory[..<min(wanted, memory.count)])
    }
}
