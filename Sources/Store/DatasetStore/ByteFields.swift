/// Little-endian fields at fixed places: how every object of the format is read and written.
///
/// Loads do not check bounds. Whoever makes a view of an object has checked the object's length once; the
/// offsets used after that are constants of the format or were validated with it.
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

/// An object under construction.
struct ByteBuilder {
    private(set) var bytes: [UInt8] = []

    var count: Int { bytes.count }

    mutating func reserve(_ capacity: Int) { bytes.reserveCapacity(capacity) }
    mutating func u8(_ value: UInt8) { bytes.append(value) }
    mutating func u16(_ value: UInt16) { append(value.littleEndian) }
    mutating func u32(_ value: UInt32) { append(value.littleEndian) }
    mutating func u64(_ value: UInt64) { append(value.littleEndian) }
    mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }
    mutating func raw(_ value: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: value) }
    mutating func zeros(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }

    private mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    }
}

extension UnsafeRawBufferPointer {
    /// The part of the buffer at `offset`, or nil when it does not lie wholly inside.
    func part(at offset: Int, count: Int) -> UnsafeRawBufferPointer? {
        guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: self[offset..<(offset + count)])
    }

    func startsWith(_ magic: StaticString) -> Bool {
        guard count >= magic.utf8CodeUnitCount else { return false }
        return unsafe elementsEqual2(magic)
    }

    /// The range lies inside.
    func areZero(_ range: Range<Int>) -> Bool { unsafe self[range].allSatisfy { $0 == 0 } }

    private func elementsEqual2(_ magic: StaticString) -> Bool {
        for index in 0..<magic.utf8CodeUnitCount where unsafe self[index] != magic.utf8Start[index] {
            return false
        }
        return true
    }
}
