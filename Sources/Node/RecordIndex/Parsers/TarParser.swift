import System

/// A tar of samples: ustar, pax, and GNU's long names. Data are gone over unseen.
struct TarParser: RecordParser {
    /// Length of the file's decoded bytes, if known.
    private let size: UInt64?
    private var table = SampleTable()
    private var offset: UInt64 = 0
    private var state = State.header
    private var block: [UInt8] = []
    /// Of the member whose header comes next.
    private var longName: [UInt8]?
    private var pax: PaxRecords?

    private enum State {
        case header
        case data(left: UInt64)
        /// The bytes of a long name or of pax records, then zeros up to the next header.
        case text(TarHeader.Kind, length: Int, padded: Int)
        /// After a block of zeros.
        case end
    }

    /// Most bytes of a long name or of pax records.
    private static let longestText: UInt64 = 1 << 20

    init(size: UInt64?) { self.size = size }

    var idle: UInt64 {
        if case .data(let left) = state { return left }
        return 0
    }

    mutating func skip(_ count: UInt64) {
        guard case .data(let left) = state else { return }
        advance(over: min(left, count), of: left)
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) {
        var rest = unsafe bytes
        while unsafe !rest.isEmpty {
            let used: Int
            switch state {
            case .data(let left):
                used = Int(min(left, UInt64(rest.count)))
                advance(over: UInt64(used), of: left)
            case .header:
                used = unsafe gather(rest, TarHeader.blockLength)
                if block.count == TarHeader.blockLength {
                    try readHeader()
                    block.removeAll(keepingCapacity: true)
                }
            case .text(let kind, let length, let padded):
                used = unsafe gather(rest, padded)
                if block.count == padded {
                    try readText(kind, Array(block.prefix(length)))
                    block = []
                }
            case .end:
                used = rest.count
                guard unsafe rest.allSatisfy({ $0 == 0 }) else {
                    throw failure(
                        .unsupported, "something follows the archive's end",
                        remedy: "Archives that were put together with cat are to be joined with `tar -A`")
                }
                offset += UInt64(used)
            }
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[used...])
        }
    }

    mutating func finish(_ compression: CompressedFile?) throws(RecordIndexError) -> IndexPiece {
        if case .end = state {
        } else if offset > 0 {
            throw failure(.damaged, "the archive has no end", remedy: "Write it again: it was cut off")
        }
        guard let piece = table.piece(decodedSize: offset, compression) else {
            throw failure(.unsupported, "the names of the archive's members are too long for an index")
        }
        return piece
    }

    private mutating func advance(over count: UInt64, of left: UInt64) {
        offset += count
        state = count == left ? .header : .data(left: left - count)
    }

    private mutating func gather(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> Int {
        let used = min(count - block.count, bytes.count)
        unsafe block.append(contentsOf: bytes[..<used])
        offset += UInt64(used)
        return used
    }

    private mutating func readHeader() throws(RecordIndexError) {
        if block.allSatisfy({ $0 == 0 }) {
            state = .end
            return
        }
        let header: TarHeader
        do throws(TarHeader.Problem) {
            header = try unsafe block.withUnsafeBytes { block in
                Result { () throws(TarHeader.Problem) in try unsafe TarHeader(block) }
            }.get()
        } catch {
            let isFirst = offset == UInt64(TarHeader.blockLength)
            throw failure(
                .damaged,
                error == .size
                    ? "a member's size is no number"
                    : isFirst ? "the file is no tar archive" : "the checksum of a member's header is wrong",
                remedy: isFirst
                    ? "Name the files that are with --path, or another format" : "Write the archive again")
        }
        switch header.kind {
        case .file: try begin(header)
        case .other:
            (longName, pax) = (nil, nil)
        case .longName, .longLink, .extended, .global:
            guard header.size <= Self.longestText else {
                throw failure(.unsupported, "a member's name or pax records have \(header.size) bytes")
            }
            let length = Int(header.size)
            state = length == 0 ? .header : .text(header.kind, length: length, padded: (length + 511) & ~511)
        case .unknown(let type):
            throw failure(
                .unsupported,
                "the member \(ByteString(header.name)) is of type \(ByteString([type])), neither file, directory nor link",
                remedy: "Write the archive with `tar --format=pax`, without --sparse and --multi-volume")
        }
    }

    private mutating func begin(_ header: TarHeader) throws(RecordIndexError) {
        let name = pax?.path ?? longName ?? header.name
        let length = pax?.size ?? header.size
        if pax?.isSparse == true {
            throw failure(
                .unsupported, "the member \(ByteString(name)) is sparse",
                remedy: "Write the archive without --sparse")
        }
        (longName, pax) = (nil, nil)
        guard length < 1 << 62 else { throw failure(.damaged, "a member has \(length) bytes") }
        if let size, length > size - min(size, offset) {
            throw failure(
                .damaged, "the archive ends inside the member \(ByteString(name))",
                remedy: "Write it again: it was cut off")
        }
        let padded = (length + 511) & ~511
        state = padded == 0 ? .header : .data(left: padded)
        // Old archives name directories so, and give them the type of a file.
        if name.last == UInt8(ascii: "/") || Self.isForReaders(name) { return }
        switch table.append(name: name, offset: offset, length: length) {
        case .taken: break
        case .hasNoColumn:
            throw failure(
                .unsupported, "the member \(ByteString(name)) has no extension, so it belongs to no column",
                remedy: "Name members KEY.EXTENSION, as WebDataset does")
        case .isTwice:
            throw failure(
                .damaged, "the member \(ByteString(name)) is in its sample twice",
                remedy: "Give each sample a name of its own")
        case .tooMany:
            throw failure(
                .unsupported, "the archive has more columns or samples than an index can hold",
                remedy: "The key of a sample ends at the first dot of its members' names")
        }
    }

    /// WebDataset takes `__name__` for remarks to readers.
    private static func isForReaders(_ name: [UInt8]) -> Bool {
        let last = name.split(separator: UInt8(ascii: "/")).last ?? []
        return last.count >= 4 && last.starts(with: "__".utf8) && last.suffix(2).elementsEqual("__".utf8)
    }

    private mutating func readText(_ kind: TarHeader.Kind, _ text: [UInt8]) throws(RecordIndexError) {
        state = .header
        switch kind {
        case .longName: longName = Array(text.prefix { $0 != 0 })
        case .extended:
            guard let records = PaxRecords(text) else {
                throw failure(.damaged, "a member's pax records are none")
            }
            pax = records
        case .longLink, .global, .file, .other, .unknown: break
        }
    }

    private func failure(_ code: RecordIndexError.Code, _ message: String, remedy: String? = nil)
        -> RecordIndexError
    {
        RecordIndexError(code, message, offset: offset, record: table.records, remedy: remedy)
    }
}
