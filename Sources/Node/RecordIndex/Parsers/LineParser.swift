import Glibc

/// Lines that end in LF or CR LF. What follows the last end is a line too, if it is not empty.
struct LineParser: RecordParser {
    private var places = NumberTable()
    private var records: UInt64 = 0
    private var valueBytes: UInt64 = 0
    private var offset: UInt64 = 0
    private var lineBegin: UInt64 = 0
    /// Whether the last byte was a CR.
    private var endsInReturn = false

    var idle: UInt64 { 0 }
    mutating func skip(_ count: UInt64) {}

    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) {
        guard let base = bytes.baseAddress, unsafe !bytes.isEmpty else { return }
        let carriage = UInt8(ascii: "\r")
        var begin = 0
        while let found = unsafe memchr(base + begin, 0x0A, bytes.count - begin) {
            let end = unsafe UnsafeRawPointer(found) - base
            let isLong = unsafe end > 0 ? base.u8(end - 1) == carriage : endsInReturn
            // The CR must be of this line.
            let lineLength = offset + UInt64(end) - lineBegin
            try append(lineLength, isReturn: isLong && lineLength > 0)
            lineBegin = offset + UInt64(end) + 1
            begin = end + 1
        }
        endsInReturn = unsafe base.u8(bytes.count - 1) == carriage
        offset += UInt64(bytes.count)
    }

    mutating func finish(_ compression: CompressedFile?) throws(RecordIndexError) -> IndexPiece {
        var end = offset
        if lineBegin < offset {
            try append(offset - lineBegin, isReturn: false)
            end += 1
        }
        places.append(end << 1)
        return IndexPiece(
            .lines, records: records, decodedSize: offset, valueBytes: valueBytes, places: places,
            compression: compression)
    }

    private mutating func append(_ length: UInt64, isReturn: Bool) throws(RecordIndexError) {
        guard records < IndexFormat.mostRecordsOfFile - 1 else {
            throw RecordIndexError(.unsupported, "the file has more lines than an index can hold")
        }
        places.append(lineBegin << 1 | (isReturn ? 1 : 0))
        records += 1
        valueBytes += length - (isReturn ? 1 : 0)
    }
}
