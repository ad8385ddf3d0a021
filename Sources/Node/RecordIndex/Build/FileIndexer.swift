import DatasetStore

/// Reads files from begin to end and finds the records in them. One a thread.
@safe struct FileIndexer: ~Copyable {
    private let source: any FileBytes
    private let format: RecordFormat
    private let recordBytes: UInt32
    private let headerBytes: UInt32
    private let buffer: UnsafeMutableRawBufferPointer
    /// Called with the bytes that were gone over since the last call; throws to give up.
    private let onProgress: (UInt64) throws(RecordIndexError) -> Void

    /// Less is read rather than jumped over: a store sends its bytes in pieces of about this length anyway.
    private static let shortestJump: UInt64 = 1 << 20

    init(
        _ source: any FileBytes, _ format: RecordFormat, recordBytes: UInt32, headerBytes: UInt32,
        onProgress: @escaping (UInt64) throws(RecordIndexError) -> Void
    ) {
        (self.source, self.format, self.onProgress) = (source, format, onProgress)
        (self.recordBytes, self.headerBytes) = (recordBytes, headerBytes)
        unsafe buffer = .allocate(byteCount: 1 << 20, alignment: 4096)
    }

    deinit { unsafe buffer.deallocate() }

    /// - Throws: without the file's path.
    func index(_ file: SelectedFile) throws(RecordIndexError) -> IndexPiece {
        guard format != .fixed else { return try fixed(file.size) }
        let count = try unsafe read(file, at: 0, buffer)
        let first = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
        let codec = try unsafe PackedFile.codec(of: first, format)
        let size = codec == .plain ? file.size : nil
        switch format {
        case .tfrecord:
            var parser = TFRecordParser(size: size)
            return try unsafe run(&parser, file, codec, first)
        case .tar:
            var parser = TarParser(size: size)
            return try unsafe run(&parser, file, codec, first)
        case .jsonl:
            var parser = LineParser()
            return try unsafe run(&parser, file, codec, first)
        case .files, .fixed:
            preconditionFailure("nothing to read")
        }
    }

    private func fixed(_ size: UInt64) throws(RecordIndexError) -> IndexPiece {
        let rest = size - min(size, UInt64(headerBytes))
        guard size == 0 || size >= UInt64(headerBytes), rest % UInt64(recordBytes) == 0 else {
            throw RecordIndexError(
                .damaged,
                "the file's \(size) bytes are not a header of \(headerBytes) and records of \(recordBytes)",
                offset: size - rest % UInt64(recordBytes), record: rest / UInt64(recordBytes),
                remedy: "Give the right lengths, or leave the file out with --path")
        }
        let records = rest / UInt64(recordBytes)
        guard records < IndexFormat.mostRecordsOfFile else {
            throw RecordIndexError(.unsupported, "the file has more records than an index can hold")
        }
        return IndexPiece(
            .fixed, records: records, decodedSize: size, valueBytes: rest, places: NumberTable())
    }

    private func run<Parser: RecordParser>(
        _ parser: inout Parser, _ file: SelectedFile, _ codec: FileCodec, _ first: UnsafeRawBufferPointer
    ) throws(RecordIndexError) -> IndexPiece {
        guard codec != .plain else {
            try unsafe runPlain(&parser, file, first)
            return try parser.finish(nil)
        }
        guard var inflater = Inflater(codec) else {
            throw RecordIndexError(.unavailable, "there is no memory to decode the file")
        }
        var bytes = unsafe first
        var offset: UInt64 = 0
        while true {
            try unsafe inflater.take(bytes) { decoded throws(RecordIndexError) in
                try unsafe parser.take(decoded)
            }
            offset += UInt64(bytes.count)
            try onProgress(UInt64(bytes.count))
            if offset >= file.size { break }
            let count = try unsafe read(file, at: offset, buffer)
            unsafe bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        }
        return try parser.finish(try inflater.finish())
    }

    private func runPlain<Parser: RecordParser>(
        _ parser: inout Parser, _ file: SelectedFile, _ first: UnsafeRawBufferPointer
    ) throws(RecordIndexError) {
        var bytes = unsafe first
        var offset: UInt64 = 0
        while true {
            try unsafe parser.take(bytes)
            var passed = UInt64(bytes.count)
            let idle = min(parser.idle, file.size - offset - passed)
            if idle >= Self.shortestJump {
                parser.skip(idle)
                passed += idle
            }
            offset += passed
            try onProgress(passed)
            if offset >= file.size { return }
            let count = try unsafe read(file, at: offset, buffer)
            unsafe bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        }
    }

    /// At least a byte, unless the file ends.
    private func read(
        _ file: SelectedFile, at offset: UInt64, _ buffer: UnsafeMutableRawBufferPointer
    ) throws(RecordIndexError) -> Int {
        let wanted = Int(min(file.size - offset, UInt64(buffer.count)))
        guard wanted > 0 else { return 0 }
        let count: Int
        do throws(StoreError) {
            count = try unsafe source.read(
                file.ordinal, at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
        } catch {
            throw RecordIndexError(
                error.code == .damaged ? .damaged : .unavailable, "the file cannot be read", offset: offset,
                cause: error)
        }
        guard count > 0, count <= wanted else {
            throw RecordIndexError(
                .damaged, "the file has fewer bytes than the snapshot says", offset: offset,
                remedy: "Run `kaml check`")
        }
        return count
    }
}
