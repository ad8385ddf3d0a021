package import Chunking
package import ObjectStore

/// The frame around a log record's protobuf bytes.
///
/// ```
/// offset 0   magic      "KAMLLOG" NUL
///        8   version    u16 = 1
///        10  type       u16: the number of the record's change in log.proto
///        12  length     u32: bytes of the payload, at most 1 MiB - 48
///        16  payload    protobuf, kaml.store.v1.LogRecord
///        end hash       32 bytes: SHA-256 over the tag "kaml.log.v1" (16 bytes, NUL-padded) and all before it
/// ```
/// All integers little-endian. Nothing follows the hash.
package enum LogEnvelope {
    package static let magic: [UInt8] = Array("KAMLLOG\0".utf8)
    package static let version: UInt16 = 1
    package static let headerBytes = 16
    /// Of a whole record object. A commit message cannot make a reader allocate more.
    package static let maximumBytes = 1 << 20

    package struct Contents: Hashable, Sendable {
        package var type: UInt16
        package var payload: [UInt8]
        /// The record's hash, which the next record repeats.
        package var hash: ContentHash
    }

    /// Nil when the payload is too large.
    package static func seal(type: UInt16, _ payload: [UInt8]) -> (bytes: [UInt8], hash: ContentHash)? {
        guard payload.count <= maximumBytes - headerBytes - ContentHash.byteCount,
            let length = UInt32(exactly: payload.count)
        else { return nil }
        var bytes = magic
        bytes.reserveCapacity(headerBytes + payload.count + ContentHash.byteCount)
        append(version, to: &bytes)
        append(type, to: &bytes)
        append(length, to: &bytes)
        bytes.append(contentsOf: payload)
        let hash = ContentHash.of(.logRecord, bytes)
        bytes.append(contentsOf: hash.bytes)
        return (bytes, hash)
    }

    /// Checks a record object from outside. The version is looked at before the hash, so that a newer format
    /// is called that and not damage.
    package static func open(_ bytes: [UInt8]) throws(LogDamage) -> Contents {
        guard bytes.count >= headerBytes + ContentHash.byteCount else { throw .truncated(bytes: bytes.count) }
        guard bytes.count <= maximumBytes else { throw .badLength }
        guard bytes.starts(with: magic) else { throw .notALogRecord }
        let found = UInt16(integer(bytes, at: 8, 2))
        guard found == version else { throw .newerFormat(found) }
        guard integer(bytes, at: 12, 4) == UInt64(bytes.count - headerBytes - ContentHash.byteCount) else {
            throw .badLength
        }
        let end = bytes.count - ContentHash.byteCount
        let hash = ContentHash.of(.logRecord, Array(bytes[..<end]))
        guard hash.bytes.elementsEqual(bytes[end...]) else { throw .hashMismatch }
        return Contents(
            type: UInt16(integer(bytes, at: 10, 2)), payload: Array(bytes[headerBytes..<end]), hash: hash)
    }

    private static func append<Value: FixedWidthInteger>(_ value: Value, to bytes: inout [UInt8]) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    /// `count` bytes, at most 8, as a little-endian number. The caller has checked the bounds.
    private static func integer(_ bytes: [UInt8], at offset: Int, _ count: Int) -> UInt64 {
        bytes[offset..<(offset + count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Keys of log records: `log/` and twenty digits.
package enum LogKey {
    package static let prefix = "log/"
    private static let digits = 20

    /// Every number below 2^64 has at most 20 digits. Nil never happens, but a key is validated to be one.
    package static func of(_ sequence: UInt64) -> ObjectKey? {
        let number = String(sequence)
        return ObjectKey(prefix + String(repeating: "0", count: max(0, digits - number.utf8.count)) + number)
    }

    /// Nil for a key that names no record.
    package static func sequence(of key: ObjectKey) -> UInt64? {
        guard key.text.hasPrefix(prefix), key.text.utf8.count == prefix.utf8.count + digits else {
            return nil
        }
        let number = key.text.utf8.dropFirst(prefix.utf8.count)
        guard number.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return UInt64(String(Substring(number)))
    }
}

/// How a log record is not what was written.
package enum LogDamage: Error, Hashable, Sendable, CustomStringConvertible {
    case truncated(bytes: Int)
    case notALogRecord
    case badLength
    case hashMismatch
    /// The format of a newer program.
    case newerFormat(UInt16)
    /// A kind of change this program does not know.
    case unknownChange(UInt16)
    /// The payload is no record, or a field of it cannot be.
    case invalidField(String)
    /// A whole record, but of another place in the log.
    case misplaced(String)

    package var description: String {
        switch self {
        case .truncated(let bytes): "it has only \(bytes) bytes"
        case .notALogRecord: "it does not start like a log record"
        case .badLength: "its length does not fit its header"
        case .hashMismatch: "its hash does not match"
        case .newerFormat(let version): "it has format version \(version), which needs a newer kaml"
        case .unknownChange(let type): "it is of type \(type), which needs a newer kaml"
        case .invalidField(let field): "its field \(field) is invalid"
        case .misplaced(let how): "it belongs elsewhere: \(how)"
        }
    }
}
