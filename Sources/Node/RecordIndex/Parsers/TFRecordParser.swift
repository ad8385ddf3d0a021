import CKamlFeed
import Chunking

/// TFRecord (tensorflow/core/lib/io/record_writer.h): see `RecordFraming`. Both checksums of each record are verified.
struct TFRecordParser: RecordParser {
    /// Length of the file's decoded bytes, if known: a record that cannot fit is told at its begin.
    private let size: UInt64?
    private var places = NumberTable()
    private var records: UInt64 = 0
    private var valueBytes: UInt64 = 0
    private var offset: UInt64 = 0
    private var recordBegin: UInt64 = 0
    private var state = State.header
    /// A header or trailer that came in pieces.
    private var split: [UInt8] = []
    private var checksum: UInt32 = 0

    private enum State {
        case header
        case payload(left: UInt64)
        case trailer
    }

    init(size: UInt64?) { self.size = size }

    var idle: UInt64 { 0 }
    mutating func skip(_ count: UInt64) {}

    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) {
        var rest = unsafe bytes
        while let base = rest.baseAddress, unsafe !rest.isEmpty {
            let used: Int
            switch state {
            case .header:
                if split.isEmpty { recordBegin = offset }
                used = unsafe gather(rest, RecordFraming.header)
                if split.count == RecordFraming.header {
                    try begin(split)
                    split.removeAll(keepingCapacity: true)
                }
            case .payload(let left):
                used = Int(min(left, UInt64(rest.count)))
                checksum = unsafe kaml_crc32c(checksum, base, used)
                state = left == UInt64(used) ? .trailer : .payload(left: left - UInt64(used))
            case .trailer:
                used = unsafe gather(rest, 4)
                if split.count == 4 {
                    try end(split)
                    split.removeAll(keepingCapacity: true)
                }
            }
            offset += UInt64(used)
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[used...])
        }
    }

    mutating func finish(_ compression: CompressedFile?) throws(RecordIndexError) -> IndexPiece {
        guard case .header = state, split.isEmpty else { throw cutOff() }
        places.append(offset)
        return IndexPiece(
            .frames, records: records, decodedSize: offset, valueBytes: valueBytes, places: places,
            compression: compression)
    }

    private mutating func gather(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> Int {
        let used = min(count - split.count, bytes.count)
        unsafe split.append(contentsOf: bytes[..<used])
        return used
    }

    private mutating func begin(_ header: [UInt8]) throws(RecordIndexError) {
        guard let total = unsafe header.withUnsafeBytes({ unsafe RecordFraming.recordLength(in: $0, at: 0) })
        else {
            if records == 0 {
                throw RecordIndexError(
                    .damaged, "the file is no TFRecord", offset: 0, record: 0,
                    remedy: "Name the files that are with --path, or another format")
            }
            throw RecordIndexError(
                .damaged, "the checksum of a record's length is wrong", offset: recordBegin, record: records,
                remedy: "Write the file again")
        }
        if let size, total > size - min(size, recordBegin) { throw cutOff() }
        guard records < IndexFormat.mostRecordsOfFile - 1 else {
            throw RecordIndexError(.unsupported, "the file has more records than an index can hold")
        }
        places.append(recordBegin)
        let length = total - RecordFraming.overhead
        checksum = 0
        state = length == 0 ? .trailer : .payload(left: length)
        valueBytes &+= length
    }

    private mutating func end(_ trailer: [UInt8]) throws(RecordIndexError) {
        let stored = unsafe trailer.withUnsafeBytes {
            unsafe UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self))
        }
        guard CRC32C.masked(checksum) == stored else {
            throw RecordIndexError(
                .damaged, "the checksum of a record is wrong", offset: recordBegin, record: records,
                remedy: "Write the file again")
        }
        records += 1
        state = .header
    }

    private func cutOff() -> RecordIndexError {
        RecordIndexError(
            .damaged, "the file ends inside a record", offset: recordBegin, record: records,
            remedy: "Write the file again: it was cut off")
    }
}
