/// Little-endian fields of the cache's own files. Loads check no bounds: whoever makes the pointer has
/// checked the length of what it points to.
extension UnsafeRawPointer {
    func littleEndian<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
        unsafe Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension [UInt8] {
    mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }
}

/// A checksum against rot of the cache's own small files. Not a defence against anybody: the directory is the
/// agent's alone.
enum Checksum {
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        // FNV-1a over words, with a final mix so that the high bits count.
        var sum: UInt64 = 0xCBF2_9CE4_8422_2325
        var offset = 0
        while offset + 8 <= bytes.count {
            sum =
                unsafe (sum ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                &* 0x0000_0100_0000_01B3
            sum ^= sum >> 29
            offset += 8
        }
        while offset < bytes.count {
            sum = unsafe (sum ^ UInt64(bytes[offset])) &* 0x0000_0100_0000_01B3
            offset += 1
        }
        return sum ^ (sum >> 32)
    }
}
