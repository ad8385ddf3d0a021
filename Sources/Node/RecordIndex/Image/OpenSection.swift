import Chunking

/// A file's section, its numbers checked and taken out. It borrows the index's memory.
@safe struct OpenSection {
    let identity: ContentHash
    let ordinal: UInt64
    let size: UInt64
    let firstRecord: UInt64
    let records: UInt64
    let layout: SectionLayout
    let codec: FileCodec
    let isWide: Bool
    let columns: Int
    let decodedSize: UInt64
    let valueBytes: UInt64
    let places: UnsafeRawBufferPointer
    let names: UnsafeRawBufferPointer
    let keys: UnsafeRawBufferPointer
    let restarts: UnsafeRawBufferPointer
    /// All of it, for a copy.
    let bytes: UnsafeRawBufferPointer

    /// Nil when the parts do not fit together.
    init?(
        _ bytes: UnsafeRawBufferPointer, identity: ContentHash, ordinal: UInt64, size: UInt64,
        firstRecord: UInt64,
        header: IndexHeader
    ) {
        guard let base = bytes.baseAddress, bytes.count >= IndexFormat.sectionHeaderLength,
            let layout = unsafe SectionLayout(rawValue: base.u8(0)),
            let codec = unsafe FileCodec(rawValue: base.u8(1)),
            unsafe base.u8(2) == 4 || base.u8(2) == 8,
            let places = unsafe bytes.part(base.u64(32), base.u64(40)),
            let names = unsafe bytes.part(base.u64(48), base.u64(56)),
            let keys = unsafe bytes.part(base.u64(64), base.u64(72)),
            let restarts = unsafe bytes.part(base.u64(80), base.u64(88))
        else { return nil }
        unsafe (self.bytes, self.places, self.names, self.keys, self.restarts) = unsafe (
            bytes, places, names, keys, restarts
        )
        (self.identity, self.ordinal, self.size, self.firstRecord) = (identity, ordinal, size, firstRecord)
        (self.layout, self.codec) = (layout, codec)
        isWide = unsafe base.u8(2) == 8
        columns = unsafe Int(base.u32(4))
        records = unsafe base.u64(8)
        decodedSize = unsafe base.u64(16)
        valueBytes = unsafe base.u64(24)
        guard records <= IndexFormat.mostRecordsOfFile, columns <= IndexFormat.mostColumns else { return nil }
        guard codec != .plain || decodedSize == size else { return nil }
        let width: UInt64 = isWide ? 8 : 4
        let expected: UInt64? =
            switch (layout, header.format) {
            case (.fixed, .fixed): 0
            case (.frames, .tfrecord), (.lines, .jsonl): (records + 1) * width
            case (.spans, .tar): records * UInt64(columns) * 2 * width
            default: nil
            }
        guard let expected, UInt64(places.count) == expected else { return nil }
        if layout == .fixed {
            let (length, overflow) = records.multipliedReportingOverflow(by: UInt64(header.recordBytes))
            guard !overflow, length <= size, records == 0 || UInt64(header.headerBytes) <= size - length
            else { return nil }
        }
        if layout == .spans {
            guard UInt64(keys.count) >= (records + 1) * 4 else { return nil }
        }
    }

    /// The place of a value, `record` below `records`; nil where the numbers make no sense.
    @inline(__always)
    func place(_ record: UInt64, _ column: Int, _ header: IndexHeader) -> (offset: UInt64, length: UInt64)? {
        let index = Int(truncatingIfNeeded: record)
        let offset: UInt64
        let length: UInt64
        switch layout {
        case .fixed:
            // Checked against the file's size when the index was opened.
            return (
                UInt64(header.headerBytes) + record * UInt64(header.recordBytes), UInt64(header.recordBytes)
            )
        case .frames:
            let begin = number(index)
            let end = number(index + 1)
            guard end >= begin, end - begin >= RecordFraming.overhead, end <= decodedSize else { return nil }
            return (begin + UInt64(RecordFraming.header), end - begin - RecordFraming.overhead)
        case .lines:
            let begin = number(index)
            let end = number(index + 1) >> 1
            offset = begin >> 1
            let lineEnd = 1 + begin & 1
            guard end >= offset, end - offset >= lineEnd else { return nil }
            length = end - offset - lineEnd
        case .spans:
            guard column >= 0, column < columns else { return nil }
            let first = (index * columns + column) * 2
            offset = number(first)
            length = number(first + 1)
        }
        guard offset <= decodedSize, length <= decodedSize - offset else { return nil }
        return (offset, length)
    }

    /// The key of a record below `records`.
    func key(_ record: UInt64) -> UnsafeRawBufferPointer? {
        guard let base = unsafe keys.baseAddress else { return nil }
        let begin = unsafe UInt64(base.u32(Int(record) * 4))
        let end = unsafe UInt64(base.u32(Int(record) * 4 + 4))
        guard end >= begin else { return nil }
        return unsafe keys.part((records + 1) * 4 + begin, end - begin)
    }

    /// `places` was checked to hold it.
    @inline(__always)
    private func number(_ index: Int) -> UInt64 {
        let base = unsafe places.baseAddress.unsafelyUnwrapped
        return unsafe isWide ? base.u64(index * 8) : UInt64(base.u32(index * 4))
    }
}
