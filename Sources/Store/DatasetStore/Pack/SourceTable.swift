import ObjectStore
import System

/// Lengths of the source table of format v1. The article "StoreFormat" describes the bytes.
enum SourceTableFormat {
    static let headerLength = 32
    static let recordLength = 24
    static let maximumLocationLength = 4_096
    static let maximumKeyLength = 4_096
    static let maximumTagLength = 1_024
    static let maximumObjectSize = UInt64(Int64.max)
}

/// The foreign objects of a reference pack, read in place: part of its footer, and valid as long as that.
@safe package struct SourceTable: @unchecked Sendable {
    // Sendable: reads immutable memory only.
    private let base: UnsafeRawPointer
    /// Objects in the table, at least one.
    package let count: Int
    /// `ObjectSource.location` of the source that has the objects.
    /// Made at each call: a footer is copied on hot paths, where a string of its own would be counted.
    package var location: String {
        let start = unsafe base + Format.headerLength + count * Format.recordLength
        return unsafe String(
            decoding: UnsafeRawBufferPointer(start: start, count: locationLength), as: UTF8.self)
    }
    private let locationLength: Int

    private typealias Format = SourceTableFormat

    /// Checks every length and text once. Nil when something is out of range.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Format.headerLength, let start = bytes.baseAddress,
            unsafe bytes.areZero(12..<32)
        else { return nil }
        let counts = unsafe (Int(start.u32(0)), Int(start.u32(4)), Int(start.u32(8)))
        let blob = Format.headerLength + counts.0 * Format.recordLength
        guard counts.0 > 0, blob + counts.1 == bytes.count, counts.2 > 0, counts.2 <= counts.1,
            counts.2 <= Format.maximumLocationLength,
            unsafe Self.text(bytes, at: blob, count: counts.2) != nil
        else { return nil }
        unsafe base = unsafe start
        count = counts.0
        locationLength = counts.2
        for index in 0..<count where unsafe !isValid(index, in: bytes, blob: blob) { return nil }
    }

    package func size(of index: Int) -> UInt64 { unsafe record(index).u64(0) }

    package subscript(index: Int) -> ReferencedObject {
        let key = unsafe UnsafeRawBufferPointer(start: bytes(index, 0), count: Int(record(index).u16(12)))
        return unsafe ReferencedObject(key: ByteString(key), size: size(of: index), version: version(index))
    }

    private func version(_ index: Int) -> ObjectVersion {
        let lengths = unsafe (
            Int(record(index).u16(12)), Int(record(index).u16(14)), Int(record(index).u16(16))
        )
        func text(_ offset: Int, _ count: Int) -> String {
            unsafe String(
                decoding: UnsafeRawBufferPointer(start: bytes(index, offset), count: count), as: UTF8.self)
        }
        return ObjectVersion(
            tag: text(lengths.0, lengths.1),
            id: lengths.2 == 0 ? nil : text(lengths.0 + lengths.1, lengths.2))
    }

    private func record(_ index: Int) -> UnsafeRawPointer {
        precondition(index >= 0 && index < count)
        return unsafe base + Format.headerLength + index * Format.recordLength
    }

    private func bytes(_ index: Int, _ offset: Int) -> UnsafeRawPointer {
        unsafe base + Format.headerLength + count * Format.recordLength + Int(record(index).u32(8)) + offset
    }

    private func isValid(_ index: Int, in bytes: UnsafeRawBufferPointer, blob: Int) -> Bool {
        let record = unsafe record(index)
        let (offset, key) = unsafe (Int(record.u32(8)), Int(record.u16(12)))
        let (tag, id) = unsafe (Int(record.u16(14)), Int(record.u16(16)))
        guard unsafe bytes.part(at: blob + offset, count: key + tag + id) != nil,
            (1...Format.maximumKeyLength).contains(key), (1...Format.maximumTagLength).contains(tag),
            id <= Format.maximumTagLength, unsafe record.u16(18) == 0, unsafe record.u32(20) == 0
        else { return false }
        let size = unsafe record.u64(0)
        return unsafe size > 0 && size <= Format.maximumObjectSize
            && Self.text(bytes, at: blob + offset + key, count: tag) != nil
            && Self.text(bytes, at: blob + offset + key + tag, count: id) != nil
    }

    private static func text(_ bytes: UnsafeRawBufferPointer, at offset: Int, count: Int) -> String? {
        guard let part = unsafe bytes.part(at: offset, count: count) else { return nil }
        return unsafe String(validating: part, as: UTF8.self)
    }
}

/// Lays out a source table.
struct SourceTableBuilder {
    private let location: String
    private var records = ByteBuilder()
    private var blob = ByteBuilder()
    private(set) var count: UInt32 = 0

    init(location: String) {
        self.location = location
        blob.raw(location.utf8)
    }

    /// Bytes of the table if it ended here.
    var byteCount: Int { SourceTableFormat.headerLength + records.count + blob.count }

    /// Returns the object's index. It is within the limits.
    mutating func append(_ object: ReferencedObject) -> UInt32 {
        let (tag, id) = (object.version.tag.utf8, (object.version.id ?? "").utf8)
        records.u64(object.size)
        records.u32(UInt32(blob.count))
        records.u16(UInt16(object.key.count))
        records.u16(UInt16(tag.count))
        records.u16(UInt16(id.count))
        records.u16(0)
        records.u32(0)
        blob.raw(object.key.bytes)
        blob.raw(tag)
        blob.raw(id)
        count += 1
        return count - 1
    }

    func finish() -> [UInt8] {
        var table = ByteBuilder()
        table.reserve(byteCount)
        table.u32(count)
        table.u32(UInt32(blob.count))
        table.u32(UInt32(location.utf8.count))
        table.zeros(20)
        table.raw(records.bytes)
        table.raw(blob.bytes)
        return table.bytes
    }
}
