import Chunking
import KamlTestSupport

/// Chunk ends of `bytes`, handing the cutter windows as a reader with a buffer of `step` bytes would.
func cuts(
    _ bytes: [UInt8], _ kind: ChunkerKind, _ parameters: ChunkingParameters = .standard,
    fileSize: UInt64? = nil, buffer step: Int = .max
) -> [Int] {
    var cutter = ChunkCutter(kind, parameters, fileSize: fileSize ?? UInt64(bytes.count))
    return bytes.withUnsafeBytes { raw in
        var ends: [Int] = []
        var start = 0
        var available = 0
        while start < raw.count {
            available = step >= raw.count - available ? raw.count : available + step
            let window = UnsafeRawBufferPointer(rebasing: raw[start..<available])
            while true {
                let rest = UnsafeRawBufferPointer(rebasing: window[(start - (available - window.count))...])
                guard let length = cutter.nextCut(in: rest, isEnd: available == raw.count) else { break }
                start += length
                ends.append(start)
                if length < 1 || length > rest.count { return [] }  // fails every test that calls
            }
        }
        return ends
    }
}

/// The chunks of one file, as something to count: a hash of each with its length.
struct ChunkSet {
    private var seen: Set<Int> = []

    /// Adds a file's chunks; returns the bytes of those that were new.
    mutating func add(_ bytes: [UInt8], cutAt ends: [Int]) -> Int {
        var new = 0
        var start = 0
        for end in ends {
            var hasher = Hasher()
            bytes[start..<end].withUnsafeBytes { hasher.combine(bytes: $0) }
            if seen.insert(hasher.finalize()).inserted { new += end - start }
            start = end
        }
        return new
    }
}

/// Frames `data` as TFRecord does. The data's checksum is replaced by a random word: cutting never verifies it.
func frame(_ data: [UInt8], trailer: UInt32) -> [UInt8] {
    let length = UInt64(data.count)
    var bytes = littleEndian(length)
    bytes += littleEndian(CRC32C.masked(CRC32C.checksum(ofWord: length)))
    bytes += data
    return bytes + littleEndian(trailer)
}

func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

extension SplitMix64 {
    /// A record with `count` random bytes of data.
    mutating func record(_ count: Int) -> [UInt8] {
        let data = bytes(count)
        return frame(data, trailer: UInt32(truncatingIfNeeded: next()))
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Small sizes make many cuts of few bytes.
func parameters(_ sizes: [Int]) throws -> ChunkingParameters {
    try ChunkingParameters(fields: [
        "wholeLimit": sizes[2], "fixedSize": sizes[1],
        "cdcMinimum": sizes[0], "cdcAverage": sizes[1], "cdcMaximum": sizes[2],
        "recordMinimum": sizes[0], "recordAverage": sizes[1], "recordMaximum": sizes[2],
    ])
}
