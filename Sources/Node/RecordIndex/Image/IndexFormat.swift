import CKamlFeed

/// An index's file, all integers little-endian, every part on a multiple of 8:
///
/// ```
/// header, 256 bytes
///     0 magic "KAMLRIDX"   8 version u32   12 format u8   13 is partial u8   14 zeros
///    16 snapshot id [32]  48 files u64    56 records u64  64 bytes of values u64
///    72 record bytes u32  76 header bytes u32 (of `RecordFormat.fixed`)
///    80 tables offset u64 88 tables length u64 96 CRC-32C of the tables u32  100 zeros
///   104 (offset, length) u64 pairs in the tables: selection, columns, column map, labels, files
///   252 CRC-32C of the 252 bytes before u32
/// sections, one for each file that is no record by itself, in any order
/// tables
/// ```
///
/// - selection: `RecordSelection.encoded`.
/// - columns, labels: (length u16, bytes) each.
/// - column map: of `tar` only; for each file and column a byte, 1 + the column's number in the file's section, or 0.
/// - files, of `RecordFormat.files`, 16 bytes each: ordinal (40 bits) and label (24 bits, all set for none) u64, size u64.
/// - files, of all others, 96 bytes each: identity [32], size u64, ordinal u64, first record u64, records u64, section
///   offset u64, section length u64, CRC-32C of the section u32, zeros.
///
/// A section:
///
/// ```
///     0 layout u8  1 codec u8  2 width of numbers u8 (4 or 8)  3 zeros  4 columns u32
///     8 records u64  16 decoded size u64  24 bytes of values u64
///    32 (offset, length) u64 pairs in the section: places, names, keys, restart points
/// ```
///
/// - places: by `SectionLayout`.
/// - names: of its columns, (length u16, bytes) each.
/// - keys: records + 1 u32 offsets into the bytes that follow them.
/// - restart points: `RestartPoint`, then their windows.
///
/// A part whose checksum is wrong makes the whole file worthless: it is made again.
enum IndexFormat {
    static let magic: StaticString = "KAMLRIDX"
    static let version: UInt32 = 1
    static let headerLength = 256
    static let sectionHeaderLength = 96
    static let fileLength = 96
    static let plainFileLength = 16
    /// Most columns of a dataset: their numbers fit a byte of the column map.
    static let mostColumns = 255
    /// Most bytes of a column's name.
    static let longestName = 255
    /// Most records of a file: their keys' offsets, and the memory that its section takes while it is made, are bounded.
    static let mostRecordsOfFile: UInt64 = 1 << 32
    static let mostFiles = Int(UInt32.max)
    static let mostLabels = 1 << 24 - 1
    static let noLabel: UInt32 = 1 << 24 - 1

    static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        unsafe kaml_crc32c(0, bytes.baseAddress, bytes.count)
    }
}

/// How a section tells where records lie. The raw values are the format's.
enum SectionLayout: UInt8 {
    /// Nothing to tell: records of `record bytes` after `header bytes`.
    case fixed = 1
    /// TFRecord: where each frame begins, and the end of the last. A frame is 12 bytes, the record, 4 bytes.
    case frames = 2
    /// Lines: where each begins, and the end of the last, doubled, plus 1 where the line ends in CR LF. A last line
    /// without an end counts as if it had one.
    case lines = 3
    /// For each record and column the place and the length; both 0 where the record has no such column.
    case spans = 4
}

extension UnsafeRawPointer {
    @inline(__always) func u8(_ offset: Int) -> UInt8 { unsafe load(fromByteOffset: offset, as: UInt8.self) }
    @inline(__always) func u16(_ offset: Int) -> UInt16 {
        unsafe UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    @inline(__always) func u32(_ offset: Int) -> UInt32 {
        unsafe UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    @inline(__always) func u64(_ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

extension UnsafeRawBufferPointer {
    /// A part of the buffer that two numbers of it name; nil when it does not lie inside.
    func part(_ offset: UInt64, _ length: UInt64) -> UnsafeRawBufferPointer? {
        guard offset <= UInt64(count), length <= UInt64(count) - offset else { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: self[Int(offset)..<Int(offset + length)])
    }
}

extension [UInt8] {
    mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }

    /// Zeros up to a multiple of 8.
    mutating func pad() { append(contentsOf: repeatElement(0, count: (8 - count & 7) & 7)) }

    mutating func store<Value: FixedWidthInteger>(littleEndian value: Value, at offset: Int) {
        unsafe withUnsafeMutableBytes { bytes in
            unsafe bytes.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
        }
    }

    /// (length u16, bytes), at most 65,535 of them.
    mutating func append(name: some Collection<UInt8>) {
        append(littleEndian: UInt16(clamping: name.count))
        append(contentsOf: name.prefix(Int(UInt16.max)))
    }
}

enum IndexNames {
    /// Reads back what `append(name:)` wrote; nil when the bytes are not just that.
    static func read(_ bytes: UnsafeRawBufferPointer, most: Int) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        var offset = 0
        while offset < bytes.count {
            guard names.count < most, bytes.count - offset >= 2, let base = bytes.baseAddress else {
                return nil
            }
            let length = unsafe Int(base.u16(offset))
            guard length <= bytes.count - offset - 2 else { return nil }
            names.append(unsafe Array(bytes[(offset + 2)..<(offset + 2 + length)]))
            offset += 2 + length
        }
        return names
    }
}
