import Chunking
import System

@testable import RecordIndex

/// Any file is refused, or each record that was found in it lies within it.
///
/// The first byte says into what pieces the rest is cut.
func fuzzRecordFile(_ format: RecordFormat, _ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 0 else { return 0 }
    let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(start) + 1, count: count - 1)
    guard let image = try? indexed(bytes, format, pieces: Int(start[0]) + 1) else { return 0 }
    guard let index = try? RecordIndex(ImageMemory(image)) else {
        preconditionFailure("what was written cannot be opened")
    }
    check(index)
    return 0
}

func indexed(_ bytes: UnsafeRawBufferPointer, _ format: RecordFormat, pieces: Int) throws -> [UInt8] {
    var indexer = FileIndexer(format, size: UInt64(bytes.count))
    var offset = 0
    while offset < bytes.count {
        let count = min(pieces, bytes.count - offset)
        let idle = try indexer.take(
            at: UInt64(offset), UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
        offset = min(bytes.count, offset + count + Int(clamping: idle))
    }
    let header = IndexHeader(
        snapshot: .zero, format: format, isPartial: false, files: 0, records: 0, valueBytes: 0,
        recordBytes: 0,
        headerBytes: 0)
    var writer = IndexWriter(nil, HostFileSystem(), header, selection: [], count: 1)
    let file = SelectedFile(ordinal: 0, size: UInt64(bytes.count), identity: .zero)
    try writer.append(indexer.finish(), of: file, number: 0)
    return try writer.finish(isPartial: false)
}

/// Any bytes are refused as an index, or can be asked for anything.
///
/// The checksums are made here, since no mutation would find them.
func fuzzIndex(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    guard count >= IndexFormat.headerLength else { return 0 }
    func number(_ offset: Int) -> UInt64 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    }
    func sum(_ offset: UInt64, _ length: UInt64) -> UInt32? {
        bytes.withUnsafeBytes { $0.part(offset, length).map { IndexFormat.checksum($0) } }
    }
    let (tables, length) = (number(80), number(88))
    let (files, filesLength) = (tables &+ number(168), number(176))
    if bytes[12] != RecordFormat.files.rawValue, sum(files, filesLength) != nil {
        for entry in stride(from: Int(files), to: Int(files + filesLength) - 95, by: 96) {
            if let sum = sum(number(entry + 64), number(entry + 72)) {
                bytes.store(littleEndian: sum, at: entry + 80)
            }
        }
    }
    if let sum = sum(tables, length) { bytes.store(littleEndian: sum, at: 96) }
    if let sum = sum(0, 252) { bytes.store(littleEndian: sum, at: 252) }
    if let index = try? RecordIndex(ImageMemory(bytes)) { check(index) }
    return 0
}

private func check(_ index: RecordIndex) {
    // Many records in few bytes are possible where they are all equally long.
    let step = Int(clamping: max(1, index.records / 1000))
    for record in stride(from: 0, to: index.records, by: step) {
        guard let number = index.fileNumber(of: record) else {
            preconditionFailure("a record lies in no file")
        }
        let file = index.file(number)
        precondition(file.records.contains(record))
        for column in -1...index.columns.count {
            if let place = index.place(record, column: column) {
                precondition(place.file == number && place.offset <= file.decodedSize)
                precondition(place.length <= file.decodedSize - place.offset)
            }
        }
        _ = index.label(record)
        _ = index.withKey(record) { $0.reduce(0, ^) }
    }
    precondition(index.place(index.records) == nil)
    for number in 0..<min(index.fileCount, 100) {
        guard let section = index.section(number), let table = RestartTable(section.restarts) else {
            continue
        }
        for offset in [0, section.decodedSize / 2, .max] {
            _ = table.window(of: table[table.last(before: offset)])
        }
    }
}
