/// Whether all bytes are zero: such a chunk is a hole and need not be stored. True for no bytes.
///
/// Blocks of 128 bytes are or-ed together, two vectors at a time; bytes that are not zero are found within the
/// first block in nearly every chunk, so the test is free where it fails.
package func isZero(_ buffer: UnsafeRawBufferPointer) -> Bool {
    guard let base = buffer.baseAddress else { return true }
    let count = buffer.count
    var position = 0
    while position &+ 128 <= count {
        let low = unsafe base.loadUnaligned(fromByteOffset: position, as: SIMD8<UInt64>.self)
        let high = unsafe base.loadUnaligned(fromByteOffset: position &+ 64, as: SIMD8<UInt64>.self)
        if (low | high) != .zero { return false }
        position &+= 128
    }
    while position < count {
        if unsafe base.load(fromByteOffset: position, as: UInt8.self) != 0 { return false }
        position &+= 1
    }
    return true
}
