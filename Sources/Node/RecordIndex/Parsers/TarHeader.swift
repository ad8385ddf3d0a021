/// One 512-byte header of a tar: ustar (POSIX.1-1988), and what GNU tar and pax (POSIX.1-2001) put on top.
struct TarHeader {
    static let blockLength = 512

    enum Kind: Equatable {
        case file
        /// A directory, link or device: has no data.
        case other
        /// The long name (GNU, type L) or link name (K) of the next member.
        case longName, longLink
        /// pax records of the next member (x), or of all that follow (g).
        case extended, global
        case unknown(UInt8)
    }

    let kind: Kind
    let name: [UInt8]
    let size: UInt64

    enum Problem: Error { case checksum, size }

    /// - Parameter block: `blockLength` bytes, not all zero.
    init(_ block: UnsafeRawBufferPointer) throws(Problem) {
        guard unsafe Self.number(block[148..<156]) == Self.checksum(block) else { throw .checksum }
        guard let size = unsafe Self.number(block[124..<136]) else { throw .size }
        kind =
            switch unsafe block[156] {
            // 7 is a file that should lie in one piece.
            case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): .file
            case UInt8(ascii: "1")...UInt8(ascii: "6"): .other
            case UInt8(ascii: "L"): .longName
            case UInt8(ascii: "K"): .longLink
            case UInt8(ascii: "x"): .extended
            case UInt8(ascii: "g"): .global
            case let type: .unknown(type)
            }
        // Links give the size of what they name.
        self.size = kind == .other ? 0 : size
        var name = unsafe Self.text(block[0..<100])
        // GNU's own headers ("ustar  ") have other things where ustar has the name's first part.
        let isUstar = unsafe block[257..<263].elementsEqual([0x75, 0x73, 0x74, 0x61, 0x72, 0])
        if isUstar, unsafe block[345] != 0 {
            name = unsafe Self.text(block[345..<500]) + [UInt8(ascii: "/")] + name
        }
        self.name = name
    }

    /// Octal digits between spaces and NULs, or, for numbers that are too large for them, big-endian with the first bit set.
    private static func number(_ field: Slice<UnsafeRawBufferPointer>) -> UInt64? {
        var value: UInt64 = 0
        if let first = unsafe field.first, first & 0x80 != 0 {
            // 0xFF begins a negative number.
            guard first == 0x80 else { return nil }
            for byte in unsafe Array(field.dropFirst()) {
                guard value < 1 << 55 else { return nil }
                value = value << 8 | UInt64(byte)
            }
            return value
        }
        let digits = unsafe Array(field).drop { $0 == UInt8(ascii: " ") }
            .prefix { $0 != 0 && $0 != UInt8(ascii: " ") }
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) else { return nil }
            value = value << 3 | UInt64(digit & 7)
        }
        return value
    }

    /// The sum of all bytes, those of the checksum itself taken for spaces.
    private static func checksum(_ block: UnsafeRawBufferPointer) -> UInt64 {
        var sum: UInt64 = 8 * 32
        for index in 0..<blockLength where !(148..<156).contains(index) { sum += unsafe UInt64(block[index]) }
        return sum
    }

    private static func text(_ field: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
        unsafe Array(field.prefix { $0 != 0 })
    }
}

/// The pax records ("length key=value\n") that matter here.
struct PaxRecords {
    private(set) var path: [UInt8]?
    private(set) var size: UInt64?
    /// A sparse file's data are not its bytes.
    private(set) var isSparse = false

    /// Nil when the bytes are no such records.
    init?(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty, rest.first != 0 {
            guard let space = rest.firstIndex(of: UInt8(ascii: " ")), space - rest.startIndex <= 10,
                let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                length > space - rest.startIndex + 2, length <= rest.count
            else { return nil }
            let end = rest.startIndex + length
            let record = rest[(space + 1)..<(end - 1)]
            guard rest[end - 1] == UInt8(ascii: "\n"), let equals = record.firstIndex(of: UInt8(ascii: "="))
            else {
                return nil
            }
            let key = record[..<equals]
            let value = record[(equals + 1)...]
            if key.elementsEqual("path".utf8) {
                path = Array(value)
            } else if key.elementsEqual("size".utf8) {
                guard let number = UInt64(String(decoding: value, as: UTF8.self)), number < 1 << 62 else {
                    return nil
                }
                size = number
            } else if key.starts(with: "GNU.sparse.".utf8) {
                isSparse = true
            }
            rest = rest[end...]
        }
    }
}
