import CZlib
import DatasetStore

/// Decoded bytes of a compressed file from any offset on. Reads that go on where the last one ended decode nothing twice.
/// One a thread; holds 320 KiB.
@safe package struct DecodedReader: ~Copyable {
    private let index: RecordIndex
    private let source: any FileBytes
    private let ordinal: UInt64
    private let codec: FileCodec
    private let size: UInt64
    private let decodedSize: UInt64
    private let table: RestartTable
    private var stream: ZStream
    private let input: UnsafeMutableRawBufferPointer
    private let thrownAway: UnsafeMutableRawBufferPointer
    /// What of `input` is not decoded yet.
    private var pending: Range<Int> = 0..<0
    private var encodedOffset: UInt64 = 0
    /// Of the next byte that comes out; nil before the first read and after an error.
    private var decodedOffset: UInt64?
    /// Whether the stream has no header, since it began in the middle: then it does not read the member's trailer either.
    private var isRaw = false
    private var isAfterMember = false

    /// - Throws: `.invalidInput` for a file that is not compressed.
    package init(_ index: RecordIndex, file: Int, _ source: any FileBytes) throws(RecordIndexError) {
        guard let section = index.section(file), section.codec != .plain,
            let table = unsafe RestartTable(section.restarts)
        else { throw RecordIndexError(.invalidInput, "the index has no way into file \(file)") }
        guard let stream = ZStream(.none) else {
            throw RecordIndexError(.unavailable, "there is no memory to decode a file")
        }
        (self.index, self.source, self.table) = (index, source, table)
        self.stream = stream
        (ordinal, codec, size, decodedSize) = (
            section.ordinal, section.codec, section.size, section.decodedSize
        )
        unsafe input = .allocate(byteCount: 256 << 10, alignment: 64)
        unsafe thrownAway = .allocate(byteCount: 64 << 10, alignment: 64)
    }

    deinit {
        unsafe input.deallocate()
        unsafe thrownAway.deallocate()
    }

    /// The decoded bytes between the restart points around an offset: what is decoded for any of them, and so worth keeping.
    package func block(at offset: UInt64) -> Range<UInt64> {
        let point = table.last(before: offset)
        let begin = table[point].decodedOffset
        let end = point + 1 < table.count ? table[point + 1].decodedOffset : decodedSize
        return begin..<max(begin, end)
    }

    /// Fills `buffer` with decoded bytes.
    ///
    /// - Throws: `.damaged` also when the file ends before the buffer is full; `.unavailable` when its bytes cannot be read.
    package mutating func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(RecordIndexError) {
        let begin = try seek(offset)
        decodedOffset = nil
        var position = begin
        while position < offset {
            let count = unsafe Int(min(offset - position, UInt64(thrownAway.count)))
            try unsafe fill(UnsafeMutableRawBufferPointer(rebasing: thrownAway[..<count]), at: position)
            position += UInt64(count)
        }
        try unsafe fill(buffer, at: offset)
        decodedOffset = offset &+ UInt64(buffer.count)
    }

    /// Where decoding goes on or begins: at `offset` or before it.
    private mutating func seek(_ offset: UInt64) throws(RecordIndexError) -> UInt64 {
        let point = table[table.last(before: offset)]
        if let decodedOffset, decodedOffset <= offset, decodedOffset >= point.decodedOffset {
            return decodedOffset
        }
        (encodedOffset, pending, isAfterMember) = (point.encodedOffset, 0..<0, false)
        if point.isBeginning {
            stream.reset(codec == .gzip ? .gzip : .zlib)
            isRaw = false
            return point.decodedOffset
        }
        stream.reset(.none)
        isRaw = true
        var byte: UInt8 = 0
        if point.bits > 0 {
            guard point.encodedOffset > 0, point.bits < 8 else {
                throw failure("the index is damaged", offset)
            }
            encodedOffset -= 1
            byte = try nextByte(offset)
        }
        guard let window = unsafe table.window(of: point),
            unsafe stream.prime(bits: point.bits, of: byte, window: window)
        else { throw failure("the index is damaged", offset) }
        return point.decodedOffset
    }

    private mutating func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64)
        throws(RecordIndexError)
    {
        var rest = unsafe buffer
        while unsafe !rest.isEmpty {
            if isAfterMember { try nextMember(offset) }
            try refill(offset)
            let step = unsafe stream.step(
                UnsafeRawBufferPointer(rebasing: input[pending]), rest, stopsAtBlocks: false)
            pending = pending.lowerBound + step.read..<pending.upperBound
            unsafe rest = UnsafeMutableRawBufferPointer(rebasing: rest[step.written...])
            switch step.status {
            case Z_STREAM_END: isAfterMember = true
            case Z_OK: break
            case Z_BUF_ERROR where step.read + step.written > 0 || pending.isEmpty: break
            default: throw failure("the compressed data are damaged", offset)
            }
            if step.read == 0, step.written == 0, step.status != Z_STREAM_END, encodedOffset >= size,
                pending.isEmpty
            {
                throw failure("the compressed data are cut off", offset)
            }
        }
    }

    private mutating func nextMember(_ offset: UInt64) throws(RecordIndexError) {
        guard codec == .gzip else { throw failure("the compressed data are cut off", offset) }
        if isRaw {
            // CRC-32 and length, which were checked when the file was indexed.
            for _ in 0..<8 { _ = try nextByte(offset) }
        }
        stream.reset(.gzip)
        (isRaw, isAfterMember) = (false, false)
    }

    private mutating func nextByte(_ offset: UInt64) throws(RecordIndexError) -> UInt8 {
        try refill(offset)
        guard let index = pending.first else { throw failure("the compressed data are cut off", offset) }
        pending = index + 1..<pending.upperBound
        return unsafe input[index]
    }

    private mutating func refill(_ offset: UInt64) throws(RecordIndexError) {
        guard pending.isEmpty, encodedOffset < size else { return }
        let count = unsafe Int(min(size - encodedOffset, UInt64(input.count)))
        let read: Int
        do throws(StoreError) {
            read = try unsafe source.read(
                ordinal, at: encodedOffset, into: UnsafeMutableRawBufferPointer(rebasing: input[..<count]))
        } catch {
            throw RecordIndexError(.unavailable, "a file cannot be read", offset: offset, cause: error)
        }
        guard read > 0, read <= count else {
            throw failure("the file is shorter than the snapshot says", offset)
        }
        encodedOffset += UInt64(read)
        pending = 0..<read
    }

    private func failure(_ what: String, _ offset: UInt64) -> RecordIndexError {
        RecordIndexError(.damaged, what, offset: offset)
    }
}
