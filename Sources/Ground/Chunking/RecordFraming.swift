/// The frame that TFRecord puts around each record, all integers little-endian:
///
///     u64 length | u32 masked CRC-32C of the length | data | u32 masked CRC-32C of the data
///
/// Only the length's checksum is verified: it tells a TFRecord from anything else, and one pass over the
/// data is the content hash's work.
package enum RecordFraming {
    /// Bytes before the data.
    package static let header = 12
    /// Bytes around the data, header and trailer.
    package static let overhead: UInt64 = 16

    /// The length of the record that starts at `bytes[offset]`, frame included, or nil when there is no
    /// valid header there. It may lie beyond the file: only its checksum was believed.
    package static func recordLength(in bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt64? {
        guard offset >= 0, bytes.count >= header, offset <= bytes.count - header else { return nil }
        let length = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        let stored = unsafe UInt32(
            littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self))
        guard CRC32C.masked(CRC32C.checksum(ofWord: length)) == stored else { return nil }
        let (total, overflow) = length.addingReportingOverflow(overhead)
        return overflow ? nil : total
    }

    /// What decides whether a chunk may end after a record: the record's length, frame included, and the
    /// last four bytes of the frame, which sum up the data.
    ///
    /// `mix(length << 32 ^ trailer)` with the finaliser of splitmix64, modulo 2^64:
    /// `z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31`.
    package static func fingerprint(length: UInt64, trailer: UInt32) -> UInt64 {
        var mixed = (length << 32) ^ UInt64(trailer)
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
