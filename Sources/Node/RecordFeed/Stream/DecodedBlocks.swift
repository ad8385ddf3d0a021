import RecordIndex
import System

/// Decoded pieces of compressed files: the runs between restart points, of which those used last are kept. One thread at a
/// time.
@safe final class DecodedBlocks {
    /// Bytes that are kept, beside the block in use.
    private static let limit = 64 << 20
    /// A single run that is larger is not kept whole: its values are decoded one by one.
    private static let largest = 16 << 20

    private struct Key: Hashable {
        var file: Int
        var offset: UInt64
    }

    private struct Block {
        var bytes: [UInt8]
        var lastUse: UInt64
    }

    private let index: RecordIndex
    private let source: any FileBytes
    private var blocks: [Key: Block] = [:]
    private var kept = 0
    private var clock: UInt64 = 0
    private var reader: (file: Int, box: ReaderBox)?

    /// A reader in a variable that may have none.
    private final class ReaderBox {
        var reader: DecodedReader
        init(_ reader: consuming DecodedReader) { self.reader = reader }
    }

    init(_ index: RecordIndex, _ source: any FileBytes) {
        self.index = index
        self.source = source
    }

    /// Copies decoded bytes of a file.
    func copy(_ place: RecordPlace, to target: UnsafeMutableRawPointer) throws(RecordIndexError) {
        let box = try reader(of: place.file)
        var offset = place.offset
        var target = unsafe target
        var missing = Int(place.length)
        while missing > 0 {
            let range = box.reader.block(at: offset)
            guard range.contains(offset) else {
                throw RecordIndexError(.damaged, "the index has no way to decoded byte \(offset)")
            }
            let count = min(missing, Int(range.upperBound - offset))
            if range.upperBound - range.lowerBound > UInt64(Self.largest) {
                try unsafe box.reader.read(
                    at: offset, into: UnsafeMutableRawBufferPointer(start: target, count: count))
            } else {
                unsafe try copy(
                    place.file, range, box, from: Int(offset - range.lowerBound), unsafe target, count)
            }
            offset += UInt64(count)
            unsafe target += count
            missing -= count
        }
    }

    private func copy(
        _ file: Int, _ range: Range<UInt64>, _ box: ReaderBox, from start: Int,
        _ target: UnsafeMutableRawPointer, _ count: Int
    ) throws(RecordIndexError) {
        clock += 1
        let key = Key(file: file, offset: range.lowerBound)
        if blocks[key] == nil {
            var bytes = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
            let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
                Result { () throws(RecordIndexError) in
                    try unsafe box.reader.read(at: range.lowerBound, into: buffer)
                }
            }
            try outcome.get()
            makeRoom(for: bytes.count)
            kept += bytes.count
            blocks[key] = Block(bytes: bytes, lastUse: clock)
        }
        blocks[key]?.lastUse = clock
        unsafe blocks[key]?.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe target.copyMemory(from: base + start, byteCount: count)
        }
    }

    private func makeRoom(for count: Int) {
        while kept + count > Self.limit, let oldest = blocks.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            kept -= oldest.value.bytes.count
            blocks[oldest.key] = nil
        }
    }

    private func reader(of file: Int) throws(RecordIndexError) -> ReaderBox {
        if let reader, reader.file == file { return reader.box }
        let box = ReaderBox(try DecodedReader(index, file: file, source))
        reader = (file, box)
        return box
    }
}
