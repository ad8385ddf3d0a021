/// Where decoding of a compressed file can begin: at a block of DEFLATE, with the decoded bytes before it that it may refer to.
struct RestartPoint: Sendable, Hashable {
    var decodedOffset: UInt64
    /// The first whole byte of the block.
    var encodedOffset: UInt64
    /// Bits of the byte before that belong to the block, 0 to 7.
    var bits: UInt8
    /// Whether a gzip or zlib header comes here, and no block.
    var isBeginning: Bool
    var windowOffset: UInt64
    var windowLength: UInt32

    static let byteCount = 32
    /// Farthest that DEFLATE refers back (RFC 1951).
    static let longestWindow = 32 << 10
    /// Decoded bytes between two of them: what a record costs to decode is half of it on average, what an index holds for it
    /// is a window each, 0.8 %.
    static let distance: UInt64 = 4 << 20
}

/// How a compressed file can be decoded from its middle.
struct CompressedFile: Sendable {
    let codec: FileCodec
    private(set) var points: [RestartPoint] = []
    private var windows: [UInt8] = []

    init(_ codec: FileCodec) { self.codec = codec }

    mutating func append(
        decodedOffset: UInt64, encodedOffset: UInt64, bits: UInt8, isBeginning: Bool,
        window: UnsafeRawBufferPointer
    ) {
        points.append(
            RestartPoint(
                decodedOffset: decodedOffset, encodedOffset: encodedOffset, bits: bits,
                isBeginning: isBeginning,
                windowOffset: UInt64(windows.count), windowLength: UInt32(window.count)))
        unsafe windows.append(contentsOf: window)
    }

    /// Point count u64; for each point decoded offset u64, encoded offset u64, window's offset u64, its length u32, bits u8,
    /// is beginning u8, zeros; the windows.
    func append(to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt64(points.count))
        for point in points {
            bytes.append(littleEndian: point.decodedOffset)
            bytes.append(littleEndian: point.encodedOffset)
            bytes.append(littleEndian: point.windowOffset)
            bytes.append(littleEndian: point.windowLength)
            bytes += [point.bits, point.isBeginning ? 1 : 0, 0, 0]
        }
        bytes += windows
    }
}

/// A file's restart points in an index.
@safe struct RestartTable {
    private let points: UnsafeRawPointer
    private let windows: UnsafeRawBufferPointer
    let count: Int

    /// Nil when there is none, or it is damaged.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count >= 8 else { return nil }
        let count = unsafe base.u64(0)
        guard count > 0, count <= UInt64(bytes.count - 8) / UInt64(RestartPoint.byteCount) else { return nil }
        self.count = Int(count)
        unsafe points = base + 8
        unsafe windows = UnsafeRawBufferPointer(rebasing: bytes[(8 + Int(count) * RestartPoint.byteCount)...])
        // So that there is one for every offset.
        guard self[0].decodedOffset == 0 else { return nil }
    }

    subscript(_ index: Int) -> RestartPoint {
        let entry = unsafe points + index * RestartPoint.byteCount
        return unsafe RestartPoint(
            decodedOffset: entry.u64(0), encodedOffset: entry.u64(8), bits: entry.u8(28),
            isBeginning: entry.u8(29) != 0,
            windowOffset: entry.u64(16), windowLength: entry.u32(24))
    }

    /// The last point at or before a decoded offset.
    func last(before offset: UInt64) -> Int {
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if self[middle].decodedOffset <= offset { low = middle } else { high = middle }
        }
        return low
    }

    func window(of point: RestartPoint) -> UnsafeRawBufferPointer? {
        guard point.windowLength <= RestartPoint.longestWindow else { return nil }
        return unsafe windows.part(point.windowOffset, UInt64(point.windowLength))
    }
}
