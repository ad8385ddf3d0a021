import DatasetStore
import NodeCache
import ObjectStore
import System

/// Reads of a cache that is encrypted: like those of one in the clear, but for the bytes, which are decrypted into memory
/// that the reply is made from.
extension DatasetFS {
    func readSealedChunk(
        _ place: Snapshot.Place, _ record: RecordView, offset: Int, count: Int, _ completion: ReadCompletion
    ) {
        do throws(Errno) {
            let isVouched = try unsafe vouchedContainer(place, record.pack) != nil
            // It may have been asleep.
            let container = try container(place, record.pack)
            let chunk = Int(record.chunk)
            let piece = ChunkPiece(
                chunk: chunk, start: record.containerOffset, length: Int(record.size),
                range: offset..<(offset + count))
            if isVouched, deliver(piece, of: container, completion) { return }
            let start = record.containerOffset + UInt64(offset)
            let part = FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: record.chunkEntry)
            readMissing(place, [.stored(part, start..<(start + UInt64(count)))], completion)
        } catch {
            completion.fail(error)
        }
    }

    /// Bytes of a chunk.
    private struct ChunkPiece {
        var chunk: Int
        /// Where in the container the chunk begins, and its bytes.
        var start: UInt64
        var length: Int
        /// Bytes of the chunk.
        var range: Range<Int>
    }

    private func deliver(
        _ piece: ChunkPiece, of container: Container, _ completion: ReadCompletion
    ) -> Bool {
        cache.withSealBuffers { buffers in
            guard let bytes = unsafe open(piece, of: container, buffers) else { return false }
            unsafe completion.deliver(
                one: ReadSegment(
                    base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), length: bytes.count)
            )
            return true
        } ?? false
    }

    /// Nil when the chunk is not at hand.
    private func open(
        _ piece: ChunkPiece, of container: Container, _ buffers: SealBuffers
    ) -> UnsafeRawBufferPointer? {
        guard container.enter() else { return nil }
        defer { container.leave() }
        guard container.isPresent(piece.chunk), !cache.isRecent(container, piece.chunk) else { return nil }
        container.touch()
        cache.didRead(container, piece.chunk..<(piece.chunk + 1))
        return unsafe buffers.open(
            container, piece.chunk, from: piece.start, length: piece.length, range: piece.range)
    }

    func readSealedExtents(
        _ place: Snapshot.Place, _ record: RecordView, offset: UInt64, count: Int,
        _ completion: ReadCompletion
    ) {
        let isAnswered = cache.withSealBuffers { buffers in
            unsafe withUnsafeTemporaryAllocation(of: ReadSegment.self, capacity: SealBuffers.pieceLimit) {
                memory in
                var segments = unsafe Segments(memory: memory)
                do throws(Errno) {
                    try forEachPart(place, record, offset: offset, count: count) { part throws(Errno) in
                        try open(part, place, buffers, &segments)
                    }
                } catch {
                    completion.fail(error)
                    return true
                }
                guard segments.bytes == count else { return false }
                unsafe completion.deliver(
                    completion.context, memory.baseAddress.map { UnsafeRawPointer($0) }, segments.count, 0)
                return true
            }
        }
        if isAnswered == true { return }
        readMissingExtents(place, record, offset: offset, count: count, completion)
    }

    /// What a reply is made of so far.
    @safe private struct Segments {
        let memory: UnsafeMutableBufferPointer<ReadSegment>
        var count = 0
        var bytes = 0

        /// False when there is no room.
        mutating func append(_ base: UnsafeMutableRawPointer?, _ length: Int) -> Bool {
            guard unsafe count < memory.count else { return false }
            unsafe memory.initializeElement(at: count, to: ReadSegment(base: base, length: length))
            count += 1
            bytes += length
            return true
        }
    }

    /// False when some of the part is not at hand.
    private func open(
        _ part: Part, _ place: Snapshot.Place, _ buffers: SealBuffers, _ segments: inout Segments
    ) throws(Errno) -> Bool {
        guard let pack = part.pack else { return unsafe segments.append(zeros.base, part.count) }
        guard try unsafe vouchedContainer(place, pack) != nil else { return false }
        let container = try container(place, pack)
        guard container.enter() else { return false }
        defer { container.leave() }
        guard let footer = container.localFooter(), let chunks = Self.chunks(of: part, in: container) else {
            return false
        }
        let end = part.containerOffset + UInt64(part.count)
        for chunk in chunks {
            let entry = footer[chunk]
            let length = Int(entry.plainLength)
            let own = entry.containerOffset..<(entry.containerOffset + UInt64(length))
            let wanted = (part.containerOffset..<end).clamped(to: own)
            let first = Int(wanted.lowerBound - own.lowerBound)
            let piece = ChunkPiece(
                chunk: chunk, start: own.lowerBound, length: length, range: first..<(first + wanted.count))
            guard let bytes = unsafe open(piece, of: container, buffers),
                unsafe segments.append(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
            else { return false }
        }
        return true
    }
}
