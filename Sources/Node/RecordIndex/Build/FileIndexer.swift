/// Finds the records of one file in its bytes as they come, compressed or not.
struct FileIndexer {
    private let format: RecordFormat
    private let size: UInt64
    private var parser: (any RecordParser)?
    private var inflater: Inflater?
    /// First bytes that came in too small a piece to tell what they are.
    private var first: [UInt8] = []
    private var offset: UInt64 = 0

    init(_ format: RecordFormat, size: UInt64) { (self.format, self.size) = (format, size) }

    /// Takes the next bytes. What lies between them and those before was idle.
    ///
    /// - Returns: how many of the bytes that follow it can do without.
    mutating func take(at place: UInt64, _ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64 {
        parser?.skip(place - offset)
        offset = place + UInt64(bytes.count)
        guard parser == nil else { return try unsafe pass(bytes) }
        let isEnough = first.count + bytes.count >= PackedFile.lookahead || offset >= size
        guard first.isEmpty, isEnough else {
            unsafe first.append(contentsOf: bytes)
            guard isEnough else { return 0 }
            let all = first
            first = []
            let outcome = unsafe all.withUnsafeBytes { bytes in
                Result { () throws(RecordIndexError) in try unsafe begin(bytes) }
            }
            return try outcome.get()
        }
        return try unsafe begin(bytes)
    }

    /// After the last byte.
    mutating func finish() throws(RecordIndexError) -> IndexPiece {
        if parser == nil { parser = Self.parser(format, size: 0) }
        let compression = try inflater?.finish()
        guard let piece = try parser?.finish(compression) else { preconditionFailure("made above") }
        return piece
    }

    private mutating func begin(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64 {
        let codec = try unsafe PackedFile.codec(of: bytes, format)
        if codec != .plain {
            guard let made = Inflater(codec) else {
                throw RecordIndexError(.unavailable, "there is no memory to decode the file")
            }
            inflater = made
        }
        parser = Self.parser(format, size: codec == .plain ? size : nil)
        return try unsafe pass(bytes)
    }

    private mutating func pass(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64 {
        guard var parser else { return 0 }
        // Not two owners of its tables, which would be copied at the first change.
        self.parser = nil
        defer { self.parser = parser }
        guard let inflater else {
            try unsafe parser.take(bytes)
            return parser.idle
        }
        try unsafe inflater.take(bytes, into: &parser)
        return 0
    }

    private static func parser(_ format: RecordFormat, size: UInt64?) -> any RecordParser {
        switch format {
        case .tfrecord: TFRecordParser(size: size)
        case .tar: TarParser(size: size)
        case .jsonl: LineParser()
        case .files, .fixed: preconditionFailure("nothing to read")
        }
    }

    /// Of a file whose records are all equally long: nothing is read.
    static func fixed(_ size: UInt64, _ header: IndexHeader) throws(RecordIndexError) -> IndexPiece {
        let (recordBytes, headerBytes) = (UInt64(header.recordBytes), UInt64(header.headerBytes))
        let rest = size - min(size, headerBytes)
        guard size == 0 || size >= headerBytes, rest % recordBytes == 0 else {
            throw RecordIndexError(
                .damaged,
                "the file's \(size) bytes are not a header of \(headerBytes) and records of \(recordBytes)",
                offset: size - rest % recordBytes, record: rest / recordBytes,
                remedy: "Give the right lengths, or leave the file out with --path")
        }
        guard rest / recordBytes < IndexFormat.mostRecordsOfFile else {
            throw RecordIndexError(.unsupported, "the file has more records than an index can hold")
        }
        return IndexPiece(
            .fixed, records: rest / recordBytes, decodedSize: size, valueBytes: rest, places: NumberTable())
    }
}
