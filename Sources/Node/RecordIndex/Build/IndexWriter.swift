import Chunking
import Glibc
import System

/// An index under construction: sections as they come, then tables and header.
struct IndexWriter: ~Copyable {
    private let file: FileDescriptor?
    private let files: any FileSystem
    /// Of an index that lies in no file.
    private var memory: [UInt8] = []
    private var end = UInt64(IndexFormat.headerLength)
    private(set) var entries: [Entry?]
    private let layout: IndexHeader
    private let selection: [UInt8]

    /// A file whose section is written.
    struct Entry: Sendable {
        let file: SelectedFile
        let records: UInt64
        let valueBytes: UInt64
        let names: [[UInt8]]
        let offset: UInt64
        let length: UInt64
        let checksum: UInt32
    }

    /// - Parameters:
    ///   - file: nil to keep the index in memory.
    ///   - header: without the numbers that only come with the sections.
    init(
        _ file: consuming FileDescriptor?, _ files: any FileSystem, _ header: IndexHeader, selection: [UInt8],
        count: Int
    ) {
        self.file = file
        (self.files, layout, self.selection) = (files, header, selection)
        entries = Array(repeating: nil, count: count)
        if self.file == nil { memory = Array(repeating: 0, count: IndexFormat.headerLength) }
    }

    mutating func append(_ piece: IndexPiece, of file: SelectedFile, number: Int) throws(Errno) {
        let offset = end
        try write(piece.bytes)
        entries[number] = Entry(
            file: file, records: piece.records, valueBytes: piece.valueBytes, names: piece.names,
            offset: offset,
            length: UInt64(piece.bytes.count),
            checksum: unsafe piece.bytes.withUnsafeBytes { unsafe IndexFormat.checksum($0) })
    }

    /// Of an index of sections. With `isPartial` the files that are missing are left out.
    mutating func finish(isPartial: Bool) throws(Errno) -> [UInt8] {
        let present = entries.compactMap(\.self)
        let names = Set(present.flatMap(\.names)).sorted { $0.lexicographicallyPrecedes($1) }
        var header = layout
        header.isPartial = isPartial
        header.files = UInt64(present.count)
        var table: [UInt8] = []
        table.reserveCapacity(present.count * IndexFormat.fileLength)
        var map: [UInt8] = []
        for entry in present {
            table += entry.file.identity.bytes
            for number in [
                entry.file.size, entry.file.ordinal, header.records, entry.records, entry.offset,
                entry.length,
            ] {
                table.append(littleEndian: number)
            }
            table.append(littleEndian: entry.checksum)
            table += repeatElement(0, count: 12)
            header.records &+= entry.records
            header.valueBytes &+= entry.valueBytes
            // The first column is the key, which lies in no file.
            if header.format == .tar {
                map.append(0)
                for name in names {
                    map.append(UInt8(clamping: (entry.names.firstIndex(of: name) ?? -1) + 1))
                }
            }
        }
        return try finish(header, columns: names, map: map, labels: [], files: table)
    }

    /// Of an index of files that are records.
    mutating func finish(files table: [UInt8], labels: [[UInt8]], valueBytes: UInt64) throws(Errno) -> [UInt8]
    {
        var header = layout
        header.files = UInt64(table.count / IndexFormat.plainFileLength)
        (header.records, header.valueBytes) = (header.files, valueBytes)
        return try finish(header, columns: [], map: [], labels: labels, files: table)
    }

    /// All of it, where it lies in memory.
    private mutating func finish(
        _ header: IndexHeader, columns: [[UInt8]], map: [UInt8], labels: [[UInt8]], files: [UInt8]
    ) throws(Errno) -> [UInt8] {
        var tables: [UInt8] = []
        tables.reserveCapacity(files.count + map.count + 4096)
        var parts: [UInt64] = []
        func part(_ append: (inout [UInt8]) -> Void) {
            let begin = tables.count
            append(&tables)
            parts += [UInt64(begin), UInt64(tables.count - begin)]
            tables.pad()
        }
        part { $0 += selection }
        part { bytes in for name in columns { bytes.append(name: name) } }
        part { $0 += map }
        part { bytes in for name in labels { bytes.append(name: name) } }
        part { $0 += files }
        let begin = end
        try write(tables)
        var bytes: [UInt8] = []
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: IndexFormat.magic.utf8Start, count: 8))
        bytes.append(littleEndian: IndexFormat.version)
        bytes += [header.format.rawValue, header.isPartial ? 1 : 0, 0, 0] + header.snapshot.bytes
        for number in [header.files, header.records, header.valueBytes] { bytes.append(littleEndian: number) }
        bytes.append(littleEndian: header.recordBytes)
        bytes.append(littleEndian: header.headerBytes)
        bytes.append(littleEndian: begin)
        bytes.append(littleEndian: UInt64(tables.count))
        bytes.append(littleEndian: unsafe tables.withUnsafeBytes { unsafe IndexFormat.checksum($0) })
        bytes.append(littleEndian: UInt32(0))
        for number in parts { bytes.append(littleEndian: number) }
        bytes += repeatElement(0, count: IndexFormat.headerLength - 4 - bytes.count)
        bytes.append(littleEndian: unsafe bytes.withUnsafeBytes { unsafe IndexFormat.checksum($0) })
        try store(bytes, at: 0)
        return memory
    }

    private mutating func write(_ bytes: [UInt8]) throws(Errno) {
        try store(bytes, at: end)
        end += UInt64(bytes.count)
    }

    private mutating func store(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
        switch file {
        case .none:
            if offset == end { memory += bytes } else { memory.replaceSubrange(0..<bytes.count, with: bytes) }
        case .some(let file):
            // A noncopyable value cannot be captured, so the array's memory comes out here.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            defer { unsafe copy.deallocate() }
            unsafe copy.copyBytes(from: bytes)
            try unsafe files.write(file, UnsafeRawBufferPointer(copy), at: offset)
        }
    }
}
