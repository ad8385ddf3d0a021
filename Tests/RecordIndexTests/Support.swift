import Chunking
import CKamlFeed
import CZlib
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import RecordIndex

/// A directory that becomes snapshots, and a place for indexes.
final class DatasetFixture: Sendable {
    private let source: TemporaryDirectory
    let kept: TemporaryDirectory
    let objects = MemoryObjectStore()
    let store: Store

    init() throws {
        source = try TemporaryDirectory()
        kept = try TemporaryDirectory()
        store = try Store.create(at: objects)
    }

    func write(_ path: ByteString, _ bytes: [UInt8]) throws {
        let full = source.path.appending(path)
        if let slash = full.bytes.lastIndex(of: UInt8(ascii: "/")) {
            try HostFileSystem().makeDirectories(ByteString(Array(full.bytes[..<slash])))
        }
        let file = try FileDescriptor.open(full, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }

    func link(_ from: ByteString, _ to: ByteString) throws {
        try HostFileSystem().link(source.path.appending(from), source.path.appending(to))
    }

    func symlink(_ target: ByteString, _ path: ByteString) throws {
        let full = source.path.appending(path)
        let status = target.withCString { target in full.withCString { Glibc.symlink(target, $0) } }
        if status != 0 { throw Errno.last }
    }

    func commit() throws -> Snapshot {
        var options = CommitOptions(dataset: try #require(DatasetName("data")), source: source.path)
        options.usesStatCache = false
        return try store.snapshot(store.commit(options).snapshot)
    }

    func bytes(of snapshot: Snapshot) -> TreeBytes { TreeBytes(snapshot: snapshot, root: source.path) }

    func indexes() -> RecordIndexes { RecordIndexes(directory: kept.path) }

    /// The index of a selection, made or opened.
    func index(
        _ snapshot: Snapshot, _ selection: RecordSelection? = nil, in indexes: RecordIndexes? = nil
    ) throws -> RecordIndex {
        let home = indexes ?? self.indexes()
        let build = home.begin(snapshot, try selection ?? RecordSelection(), bytes(of: snapshot))
        return try #require(build.wait(milliseconds: nil)).get()
    }

    /// All values of a column, record by record.
    func values(_ index: RecordIndex, _ snapshot: Snapshot, column: Int = 0) throws -> [[UInt8]] {
        let source = bytes(of: snapshot)
        return try (0..<index.records).map { record in
            let place = try #require(index.place(record, column: column))
            var value = [UInt8](repeating: 0, count: Int(place.length))
            let file = index.file(place.file)
            if file.codec == .plain {
                let count = try value.withUnsafeMutableBytes {
                    try source.read(file.ordinal, at: place.offset, into: $0)
                }
                #expect(count == value.count)
            } else {
                var reader = try DecodedReader(index, file: place.file, source)
                try value.withUnsafeMutableBytes { try reader.read(at: place.offset, into: $0) }
            }
            return value
        }
    }
}

/// Reads the directory that a snapshot was made of.
struct TreeBytes: FileBytes {
    let snapshot: Snapshot
    let root: ByteString
    /// How often each file was read from, by path.
    let reads = Counter()

    final class Counter: Sendable {
        private let counts = Mutex<[ByteString: Int]>([:])
        func count(_ path: ByteString) { counts.withLock { $0[path, default: 0] += 1 } }
        var paths: Set<ByteString> { counts.withLock { Set($0.keys) } }
    }

    func read(
        _ ordinal: UInt64, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(StoreError) -> Int {
        let path = try snapshot.path(ofOrdinal: ordinal)
        reads.count(path)
        do throws(Errno) {
            return try FileDescriptor.open(root.appending(path), O_RDONLY).read(into: buffer, at: offset)
        } catch { throw StoreError(.inputOutput, "no such file", path: path.description, cause: error) }
    }
}

/// TFRecord's frame around a record.
func frame(_ record: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt64(record.count))
    bytes.append(littleEndian: CRC32C.masked(CRC32C.checksum(ofWord: UInt64(record.count))))
    bytes += record
    bytes.append(
        littleEndian: CRC32C.masked(record.withUnsafeBytes { kaml_crc32c(0, $0.baseAddress, $0.count) }))
    return bytes
}

/// Records of random lengths up to `longest`.
func randomRecords(_ count: Int, longest: Int, seed: UInt64) -> [[UInt8]] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in
        // Words of few bits, so that compression has something to do.
        random.bytes(Int(random.next() % UInt64(longest + 1))).map { $0 & 0x3F }
    }
}

/// zlib's compression, as gzip or zlib by the window bits.
func deflate(_ bytes: [UInt8], gzip: Bool, level: Int32 = 6) -> [UInt8] {
    var stream = z_stream()
    var output = [UInt8](repeating: 0, count: bytes.count + bytes.count / 8 + 1024)
    var input = bytes
    let count = input.withUnsafeMutableBufferPointer { input in
        output.withUnsafeMutableBufferPointer { output in
            deflateInit2_(
                &stream, level, Z_DEFLATED, gzip ? 31 : 15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size))
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(output.count)
            CZlib.deflate(&stream, Z_FINISH)
            deflateEnd(&stream)
            return output.count - Int(stream.avail_out)
        }
    }
    return Array(output[..<count])
}

/// A tar's member: header, data, zeros up to a whole block.
func member(_ name: String, _ data: [UInt8], type: Character = "0", prefix: String = "") -> [UInt8] {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, _ offset: Int) {
        block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    }
    func octal(_ number: Int, _ digits: Int) -> String {
        let text = String(number, radix: 8)
        return String(repeating: "0", count: digits - text.count) + text
    }
    put(name, 0)
    put(octal(0o644, 7), 100)
    put(octal(data.count, 11), 124)
    put(octal(0, 11), 136)
    put("        ", 148)
    put(String(type), 156)
    put("ustar\0" + "00", 257)
    put(prefix, 345)
    put(octal(block.reduce(0) { $0 + Int($1) }, 6) + "\0 ", 148)
    return block + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
}

let endOfTar = [UInt8](repeating: 0, count: 1024)

/// A pax record, whose length counts its own digits.
func pax(_ key: String, _ value: String) -> [UInt8] {
    let rest = " \(key)=\(value)\n"
    var length = rest.utf8.count
    while String(length).utf8.count + rest.utf8.count != length {
        length = String(length).utf8.count + rest.utf8.count
    }
    return Array("\(length)\(rest)".utf8)
}

/// What a piece says, as an index of one file.
func open(_ piece: IndexPiece, _ format: RecordFormat, size: UInt64) throws -> RecordIndex {
    let header = IndexHeader(
        snapshot: .zero, format: format, isPartial: false, files: 0, records: 0, valueBytes: 0,
        recordBytes: 0,
        headerBytes: 0)
    var writer = IndexWriter(nil, HostFileSystem(), header, selection: [], count: 1)
    try writer.append(piece, of: SelectedFile(ordinal: 1, size: size, identity: .zero), number: 0)
    return try RecordIndex(ImageMemory(try writer.finish(isPartial: false)))
}

/// Gives a parser a file's bytes in pieces of random lengths.
func parse<Parser: RecordParser>(
    _ parser: Parser, _ bytes: [UInt8], _ format: RecordFormat, pieces seed: UInt64 = 1
) throws -> RecordIndex {
    var parser = parser
    var random = SplitMix64(seed: seed)
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = min(rest.count, 1 + Int(random.next() % (seed == 0 ? 1 << 40 : 700)))
        let result = rest.prefix(count).withUnsafeBytes { bytes in
            Result { () throws(RecordIndexError) in try parser.take(bytes) }
        }
        try result.get()
        rest = rest.dropFirst(count)
    }
    return try open(parser.finish(nil), format, size: UInt64(bytes.count))
}
