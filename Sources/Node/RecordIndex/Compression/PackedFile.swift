import Chunking

/// How a file is packed, from its first bytes.
enum PackedFile {
    /// First bytes that a decision needs, if the file has as many.
    static let lookahead = 12

    /// - Throws: `.unsupported` for a way of packing that is not served.
    static func codec(of first: UnsafeRawBufferPointer, _ format: RecordFormat) throws(RecordIndexError)
        -> FileCodec
    {
        guard first.count >= 2, format != .fixed else { return .plain }
        // A plain TFRecord may begin with any length, so also with another format's first bytes.
        if format == .tfrecord, unsafe RecordFraming.recordLength(in: first, at: 0) != nil { return .plain }
        let word = unsafe Int(first[0]) << 8 | Int(first[1])
        if word == 0x1F8B { return .gzip }
        if first.count >= 4, unsafe first[..<4].elementsEqual([0x28, 0xB5, 0x2F, 0xFD]) {
            throw RecordIndexError(
                .unsupported, "the file is compressed with zstd",
                remedy: "Store it plain: kaml compresses what it stores with zstd itself")
        }
        // RFC 1950: method 8, a window of at most 32 KiB, a multiple of 31.
        if format == .tfrecord, word >> 8 & 0x0F == 8, word >> 12 <= 7, word % 31 == 0 { return .zlib }
        return .plain
    }
}
