import Chunking

/// The numbers of an index's header.
struct IndexHeader: Sendable {
    var snapshot: ContentHash
    var format: RecordFormat
    /// Whether files are missing that the selection has: not for feeds, only a source of sections.
    var isPartial: Bool
    var files: UInt64
    var records: UInt64
    var valueBytes: UInt64
    var recordBytes: UInt32
    var headerBytes: UInt32
}

/// An index's file, its parts found and checked.
@safe struct OpenedImage {
    let memory: ImageMemory
    let header: IndexHeader
    private(set) var columns: [RecordColumn] = []
    private(set) var labels: [[UInt8]] = []
    private(set) var sections: [OpenSection] = []
    let selection: UnsafeRawBufferPointer
    let columnMap: UnsafeRawBufferPointer
    let plainFiles: UnsafeRawBufferPointer

    init(_ memory: ImageMemory) throws(RecordIndexError) {
        self.memory = memory
        let bytes = unsafe memory.bytes
        guard let base = bytes.baseAddress, bytes.count >= IndexFormat.headerLength else {
            throw Self.damaged("it is shorter than its header")
        }
        for index in 0..<8 where unsafe base.u8(index) != IndexFormat.magic.utf8Start[index] {
            throw Self.damaged("its first bytes are not those of an index")
        }
        let checked = unsafe UnsafeRawBufferPointer(start: base, count: 252)
        guard unsafe IndexFormat.checksum(checked) == base.u32(252) else {
            throw Self.damaged("its header's checksum is wrong")
        }
        guard unsafe base.u32(8) == IndexFormat.version,
            let format = unsafe RecordFormat(rawValue: base.u8(12))
        else {
            throw RecordIndexError(.unsupported, "the index has another version")
        }
        header = unsafe IndexHeader(
            snapshot: ContentHash(loading: base + 16), format: format, isPartial: base.u8(13) != 0,
            files: base.u64(48),
            records: base.u64(56), valueBytes: base.u64(64), recordBytes: base.u32(72),
            headerBytes: base.u32(76))
        guard let tables = unsafe bytes.part(base.u64(80), base.u64(88)),
            unsafe IndexFormat.checksum(tables) == base.u32(96),
            let selection = unsafe tables.part(base.u64(104), base.u64(112)),
            let columns = unsafe tables.part(base.u64(120), base.u64(128)),
            let columnMap = unsafe tables.part(base.u64(136), base.u64(144)),
            let labels = unsafe tables.part(base.u64(152), base.u64(160)),
            let files = unsafe tables.part(base.u64(168), base.u64(176)),
            header.files <= UInt64(IndexFormat.mostFiles)
        else { throw Self.damaged("its tables are not what its header says") }
        unsafe (self.selection, self.columnMap) = unsafe (selection, columnMap)
        unsafe plainFiles = unsafe files
        let width = format == .files ? IndexFormat.plainFileLength : IndexFormat.fileLength
        guard files.count == Int(header.files) * width else {
            throw Self.damaged("its table of files is not what its header says")
        }
        try unsafe readNames(columns: columns, labels: labels)
        if format == .files {
            guard header.records == header.files else { throw Self.damaged("a file is not a record in it") }
        } else {
            try unsafe readSections(files)
        }
    }

    private mutating func readNames(
        columns: UnsafeRawBufferPointer, labels: UnsafeRawBufferPointer
    ) throws(RecordIndexError) {
        guard let names = unsafe IndexNames.read(columns, most: IndexFormat.mostColumns),
            let found = unsafe IndexNames.read(labels, most: IndexFormat.mostLabels)
        else { throw Self.damaged("its names are cut off") }
        self.labels = found
        var list: [RecordColumn] = []
        for name in names {
            guard let name = String(validating: name, as: UTF8.self) else {
                throw Self.damaged("a name is no text")
            }
            list.append(RecordColumn(name: name, source: .file))
        }
        self.columns = header.format.columns(list, recordBytes: header.recordBytes)
        guard unsafe header.format != .tar || columnMap.count == Int(header.files) * self.columns.count else {
            throw Self.damaged("its table of columns is not what its header says")
        }
    }

    private mutating func readSections(_ files: UnsafeRawBufferPointer) throws(RecordIndexError) {
        sections.reserveCapacity(Int(header.files))
        var records: UInt64 = 0
        for number in 0..<Int(header.files) {
            let entry = unsafe files.baseAddress.unsafelyUnwrapped + number * IndexFormat.fileLength
            guard let section = unsafe memory.bytes.part(entry.u64(64), entry.u64(72)),
                unsafe IndexFormat.checksum(section) == entry.u32(80),
                let open = unsafe OpenSection(
                    section, identity: ContentHash(loading: entry), ordinal: entry.u64(40),
                    size: entry.u64(32),
                    firstRecord: records, header: header),
                unsafe entry.u64(48) == records, unsafe entry.u64(56) == open.records
            else { throw Self.damaged("the section of file \(number) is not what it must be") }
            // At most 2^32 files of 2^32 records each, the last of which would be one too many.
            records &+= open.records
            sections.append(open)
        }
        guard records == header.records, records <= FeedOrder.mostRecords else {
            throw Self.damaged("it has \(records) records, its header says \(header.records)")
        }
        if header.format == .tar {
            for number in 0..<Int(header.files) {
                for column in 0..<columns.count
                where unsafe Int(columnMap[number * columns.count + column]) > sections[number].columns {
                    throw Self.damaged("its table of columns is not what its sections say")
                }
            }
        }
    }

    private static func damaged(_ what: String) -> RecordIndexError {
        RecordIndexError(.damaged, "the index is damaged: \(what)")
    }
}

extension RecordFormat {
    /// All columns of a dataset, of which `found` are those that a tar's members name.
    func columns(_ found: [RecordColumn], recordBytes: UInt32) -> [RecordColumn] {
        switch self {
        case .tfrecord, .jsonl: [RecordColumn(name: "record", source: .file)]
        case .fixed: [RecordColumn(name: "record", source: .file, width: recordBytes)]
        case .files:
            [
                RecordColumn(name: "record", source: .file), RecordColumn(name: "label", source: .label),
                RecordColumn(name: "path", source: .path),
            ]
        case .tar: [RecordColumn(name: "__key__", source: .key)] + found
        }
    }
}
