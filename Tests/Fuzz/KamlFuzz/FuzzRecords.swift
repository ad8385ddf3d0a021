import Chunking

/// Any bytes can be cut by any chunker: the lengths are positive, within bounds, and add up to the file.
func fuzzRecords(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    _ = CompressionProbe.looksCompressible(bytes)
    for kind in [ChunkerKind.record, .cdc, .fixed, .whole] {
        var cutter = ChunkCutter(kind, .standard, fileSize: UInt64(count))
        var rest = bytes
        while let length = cutter.nextCut(in: rest, isEnd: true) {
            precondition(length > 0 && length <= rest.count)
            rest = UnsafeRawBufferPointer(rebasing: rest[length...])
        }
        precondition(rest.isEmpty)
    }
    return 0
}
