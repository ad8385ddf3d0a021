import HTTPExchange

/// Puts the head of an answer together from its lines, within bounds, and refuses what makes the body's length
/// doubtful.
struct ResponseHeadReader {
    static let maximumFields = 128
    static let maximumBytes = 64 << 10

    enum Progress: Equatable {
        case more
        case complete(HTTPResponseHead)
    }

    /// What is wrong with the head.
    struct Malformed: Error, Equatable { var detail: String }

    private var status = 0
    private var fields: [HTTPField] = []
    private var bytes = 0
    private var isComplete = false

    /// The next line, with its end. Lines after a complete head are trailers: bounded, and dropped.
    mutating func read(_ line: UnsafeRawBufferPointer) throws(Malformed) -> Progress {
        bytes += line.count
        guard bytes <= Self.maximumBytes else { throw Malformed(detail: "the head is larger than 64 KiB") }
        if isComplete { return .more }
        let text = unsafe Substring(decoding: Self.content(of: line), as: UTF8.self)
        if status == 0 {
            status = try Self.status(of: text)
            return .more
        }
        if text.isEmpty { return try end() }
        guard fields.count < Self.maximumFields else {
            throw Malformed(detail: "the head has over 128 fields")
        }
        fields.append(try Self.field(of: text))
        return .more
    }

    private mutating func end() throws(Malformed) -> Progress {
        if (100..<200).contains(status) {
            // An interim head: the bounds go on counting.
            guard status != 101 else { throw Malformed(detail: "the server changed the protocol unasked") }
            status = 0
            fields.removeAll()
            return .more
        }
        try checkFraming()
        isComplete = true
        return .complete(HTTPResponseHead(status: status, fields: fields))
    }

    /// A length that is given twice, or beside a transfer encoding, is a way to smuggle one answer into another
    /// (RFC 9112, 6.3).
    private func checkFraming() throws(Malformed) {
        let lengths = fields.filter { $0.name == "content-length" }
        guard lengths.count <= 1 else { throw Malformed(detail: "the answer has two lengths") }
        let encodings = fields.filter { $0.name == "transfer-encoding" }
        if let encoding = encodings.first {
            guard lengths.isEmpty else {
                throw Malformed(detail: "the answer has a length and a transfer encoding")
            }
            guard encodings.count == 1, encoding.value.lowercased() == "chunked" else {
                throw Malformed(detail: "the answer has a transfer encoding other than chunked")
            }
        }
        if let length = lengths.first {
            guard let length = HTTPContentRange.decimal(length.value), length <= UInt64(Int64.max) else {
                throw Malformed(detail: "the answer's length is no number")
            }
        }
    }

    /// `HTTP/1.1 206 Partial Content`
    private static func status(of line: Substring) throws(Malformed) -> Int {
        let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", parts[1].utf8.count == 3,
            let status = HTTPContentRange.decimal(parts[1]), (100..<600).contains(status)
        else { throw Malformed(detail: "the answer does not begin with a status line") }
        return Int(status)
    }

    private static func field(of line: Substring) throws(Malformed) -> HTTPField {
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, parts[0].utf8.allSatisfy(HTTPField.isNameByte) else {
            throw Malformed(detail: "a line of the head is no field")
        }
        return HTTPField(parts[0].lowercased(), String(trimming(parts[1])))
    }

    private static func content(of line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var count = line.count
        while count > 0, unsafe line[count - 1] == UInt8(ascii: "\n") || line[count - 1] == UInt8(ascii: "\r")
        {
            count -= 1
        }
        return unsafe UnsafeRawBufferPointer(rebasing: line[..<count])
    }

    private static func trimming(_ value: Substring) -> Substring {
        var value = value
        while let first = value.utf8.first, first == 0x20 || first == 0x09 {
            value.unicodeScalars.removeFirst()
        }
        while let last = value.utf8.last, last == 0x20 || last == 0x09 { value.unicodeScalars.removeLast() }
        return value
    }
}
