/// CRC-32C (Castagnoli, reflected, 0x82F63B78) in TFRecord's masked form.
///
/// A plain table: it only ever sees the eight length bytes of a record.
package enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { index in
        var value = UInt32(truncatingIfNeeded: index)
        for _ in 0..<8 { value = (value >> 1) ^ (value & 1 == 1 ? 0x82F6_3B78 : 0) }
        return value
    }

    package static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc = UInt32.max
        for index in bytes.indices { crc = unsafe step(crc, bytes[index]) }
        return ~crc
    }

    /// The checksum of the eight little-endian bytes of `word`.
    package static func checksum(ofWord word: UInt64) -> UInt32 {
        var crc = UInt32.max
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            crc = step(crc, UInt8(truncatingIfNeeded: word >> shift))
        }
        return ~crc
    }

    /// TFRecord stores checksums masked, since a checksum of data that holds checksums is weak:
    /// rotated right by 15, plus 0xA282EAD8.
    package static func masked(_ crc: UInt32) -> UInt32 {
        ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
    }

    @inline(__always)
    private static func step(_ crc: UInt32, _ byte: UInt8) -> UInt32 {
        (crc >> 8) ^ table[Int(truncatingIfNeeded: (crc ^ UInt32(byte)) & 0xFF)]
    }
}
