/// Content-defined cuts: FastCDC with normalised chunking, exactly as follows.
///
/// - The hash is 64 bits, arithmetic modulo 2^64: `h = (h << 1) + gear[byte]` (`GearTable`), so it depends
///   on the last 64 bytes only.
/// - A chunk starts at its first byte, position 0, with `h = 0`. Hashing begins at position `minimum - 64`:
///   the bytes before it cannot end the chunk. So whether a position can be a cut is a property of the 64
///   bytes before it and of nothing else.
/// - For each length L from `minimum` up to, not including, `min(maximum, bytes left in the file)`, with
///   byte L-1 hashed: cut after L bytes when the top `b` bits of `h` are all zero, where
///   `b = log2(average) + 2` while L < `average`, and `b = log2(average) - 2` from then on.
/// - Without such an L the chunk is `min(maximum, bytes left)` long. A file that ends within `minimum` bytes
///   gives a last chunk shorter than `minimum`.
///
/// The tested bits are the high ones because only they have seen all 64 bytes of the window.
package struct CDC: Sendable {
    private let sizes: ContentDefinedSizes
    /// `h < limit` says that the top bits are zero: one comparison instead of mask and test.
    private let limitBelowAverage: UInt64
    private let limitFromAverage: UInt64

    /// Bytes that decide whether a position can be a cut.
    package static let window = 64

    package init(_ sizes: ContentDefinedSizes) {
        self.sizes = sizes
        let bits = UInt64(truncatingIfNeeded: sizes.average.trailingZeroBitCount)
        limitBelowAverage = 1 << (62 &- bits)
        limitFromAverage = 1 << (66 &- bits)
    }

    /// The length of the first chunk of `bytes`, which hold at least `maximum` bytes or end the file.
    /// 0 only for no bytes.
    package func firstCut(in bytes: UnsafeRawBufferPointer) -> Int {
        let end = Swift.min(bytes.count, sizes.maximum)
        guard end > sizes.minimum, let base = bytes.baseAddress else { return end }
        return unsafe GearTable.entries.withUnsafeBufferPointer { gear in
            guard let gear = gear.baseAddress else { return end }
            var hash = unsafe warmUp(base, gear)
            // The byte that completes the shortest chunk is tested with the rest, so scanning starts on it.
            let turn = Swift.min(Swift.max(sizes.average - 1, sizes.minimum - 1), end - 1)
            if let cut = unsafe Self.scan(base, sizes.minimum - 1, turn, limitBelowAverage, gear, &hash) {
                return cut
            }
            return unsafe Self.scan(base, turn, end - 1, limitFromAverage, gear, &hash) ?? end
        }
    }

    /// Hashes the bytes before the first one that may end a chunk.
    private func warmUp(_ base: UnsafeRawPointer, _ gear: UnsafePointer<UInt64>) -> UInt64 {
        var hash: UInt64 = 0
        for position in (sizes.minimum - Self.window)..<(sizes.minimum - 1) {
            hash = unsafe (hash << 1) &+ gear[Int(base.load(fromByteOffset: position, as: UInt8.self))]
        }
        return hash
    }

    /// Hashes the bytes at `from..<to` and returns the length up to the first cut, or nil.
    ///
    /// Two bytes go into the hash at once, `h << 2 + (gear[a] << 1 + gear[b])`, which halves the chain of
    /// dependent operations that the speed hangs on; both hashes are tested.
    @inline(__always)
    private static func scan(
        _ base: UnsafeRawPointer, _ from: Int, _ to: Int, _ limit: UInt64, _ gear: UnsafePointer<UInt64>,
        _ hash: inout UInt64
    ) -> Int? {
        var position = from
        var h = hash
        while position &+ 8 <= to {
            var word = unsafe UInt64(
                littleEndian: base.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            var step = 0
            while step < 8 {
                let first = unsafe gear[Int(truncatingIfNeeded: word & 0xFF)]
                let second = unsafe gear[Int(truncatingIfNeeded: (word >> 8) & 0xFF)]
                word >>= 16
                let odd = (h << 1) &+ first
                h = (h << 2) &+ ((first << 1) &+ second)
                if odd < limit { return position &+ step &+ 1 }
                if h < limit { return position &+ step &+ 2 }
                step &+= 2
            }
            position &+= 8
        }
        while position < to {
            h = unsafe (h << 1) &+ gear[Int(base.load(fromByteOffset: position, as: UInt8.self))]
            position &+= 1
            if h < limit { return position }
        }
        hash = h
        return nil
    }
}
