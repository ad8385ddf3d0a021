/// Guesses whether zstd will pay for a chunk, from a few thousand bytes of it.
///
/// Compressing a JPEG costs ten times its hash and saves nothing. The probe reads 16 windows of 256 bytes
/// spread evenly (all bytes of a buffer up to 4 KiB) and says yes to either sign of redundancy:
///
/// - byte values far from evenly spread. Measured as pairs of equal bytes (the collision form of entropy):
///   integers only, and one short column of constant bytes, such as the exponents of floats, stands out.
/// - four-byte strings that occur twice among the samples.
///
/// It misses repeats that lie farther apart than the samples see. It decides a codec, never a cut or a name,
/// so it may change between versions.
package enum CompressionProbe {
    private static let windows = 16
    private static let window = 256
    private static let tableBits: UInt32 = 8

    package static func looksCompressible(_ buffer: UnsafeRawBufferPointer) -> Bool {
        guard let base = buffer.baseAddress, buffer.count >= 32 else { return false }
        return unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 256) { counts in
            unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 1 << Int(tableBits)) { table in
                guard let counts = counts.baseAddress, let table = table.baseAddress else { return false }
                unsafe counts.initialize(repeating: 0, count: 256)
                unsafe table.initialize(repeating: 0, count: 1 << Int(tableBits))
                return unsafe probe(base, buffer.count, counts, table)
            }
        }
    }

    private static func probe(
        _ base: UnsafeRawPointer, _ count: Int, _ counts: UnsafeMutablePointer<UInt32>,
        _ table: UnsafeMutablePointer<UInt32>
    ) -> Bool {
        let isSmall = count <= windows * window
        let length = isSmall ? count : window
        let stride = isSmall ? count : (count - window) / (windows - 1)
        var repeats = 0
        var sampled = 0
        var start = 0
        for _ in 0..<(isSmall ? 1 : windows) {
            unsafe repeats += scan(base + start, length, counts, table)
            sampled += length
            start += stride
        }
        return unsafe repeats * 32 > sampled || isUneven(counts, sampled)
    }

    /// Counts the bytes of one window; returns how many of its four-byte strings were seen before.
    private static func scan(
        _ base: UnsafeRawPointer, _ length: Int, _ counts: UnsafeMutablePointer<UInt32>,
        _ table: UnsafeMutablePointer<UInt32>
    ) -> Int {
        var repeats = 0
        var position = 0
        while position &+ 4 <= length {
            let word = unsafe UInt32(
                littleEndian: base.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            unsafe counts[Int(word & 0xFF)] &+= 1
            let slot = Int((word &* 0x9E37_79B1) >> (32 &- tableBits))
            unsafe repeats &+= table[slot] == word ? 1 : 0
            unsafe table[slot] = word
            position &+= 1
        }
        while position < length {
            unsafe counts[Int(base.load(fromByteOffset: position, as: UInt8.self))] &+= 1
            position &+= 1
        }
        return repeats
    }

    /// Whether pairs of equal bytes are more frequent than evenly spread bytes give, by half, and beyond what
    /// chance may add to a sample of this size (six standard deviations).
    ///
    /// Measured, as a multiple of the even case: deflate, xz, zstd, WebP, WOFF2 up to 1.06; JPEG 1.06 at quality
    /// 95 to 1.29 at quality 50 (of which zstd saves 2.6 %); float16, float32 and float64 tensors 2.5 to 7; base64
    /// 4; code 8 and more.
    private static func isUneven(_ counts: UnsafeMutablePointer<UInt32>, _ sampled: Int) -> Bool {
        var squares: UInt64 = 0
        for value in 0..<256 {
            let count = unsafe UInt64(counts[value])
            squares &+= count &* count
        }
        let samples = UInt64(truncatingIfNeeded: sampled)
        let pairs = Double(samples &* (samples &- 1)) / 2
        let equal = Double(squares &- samples) / 2
        let expected = pairs / 256
        return equal > expected * 1.5 + 6 * expected.squareRoot()
    }
}
