/// Why bytes are not the XML that an S3 server may send.
package struct XMLError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

/// Elements and text of a small XML document, one after the other.
///
/// What S3 answers and no more: no DTD, so no entities of a document's own and nothing that expands or refers to
/// elsewhere; attributes are passed over. Depth and lengths are bounded, so that memory is bounded by the document's.
struct XMLScanner {
    enum Event: Equatable {
        case start(String)
        /// A run of text or character data; several may follow each other.
        case text([UInt8])
        case end
    }

    static let maximumDepth = 16
    static let maximumNameBytes = 128
    static let maximumTextBytes = 64 << 10

    private let bytes: [UInt8]
    private var position = 0
    private var open: [ArraySlice<UInt8>] = []
    private var hasRoot = false
    /// After `<name/>`.
    private var closesNext = false

    /// Throws for bytes that are not UTF-8.
    init(_ bytes: [UInt8]) throws(XMLError) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw XMLError("it is not UTF-8") }
        self.bytes = bytes
    }

    /// Nil at the end of a document that is whole.
    mutating func next() throws(XMLError) -> Event? {
        if closesNext {
            closesNext = false
            open.removeLast()
            return .end
        }
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "<") else {
                let text = try takeText()
                if open.isEmpty {
                    guard text.allSatisfy(Self.isSpace) else {
                        throw XMLError("it has text outside of its elements")
                    }
                    continue
                }
                return .text(text)
            }
            if starts(with: "<?") {
                try skip(past: "?>")
            } else if starts(with: "<!--") {
                try skip(past: "-->")
            } else if starts(with: "<![CDATA[") {
                guard !open.isEmpty else { throw XMLError("it has text outside of its elements") }
                let start = position + 9
                try skip(past: "]]>")
                guard position - 3 - start <= Self.maximumTextBytes else {
                    throw XMLError("a text is too long")
                }
                return .text(Array(bytes[start..<(position - 3)]))
            } else if starts(with: "<!") {
                throw XMLError("it has a document type, which S3 never sends")
            } else if starts(with: "</") {
                try takeEnd()
                return .end
            } else {
                return .start(try takeStart())
            }
        }
        guard open.isEmpty, hasRoot else { throw XMLError("it ends too early") }
        return nil
    }

    private mutating func takeStart() throws(XMLError) -> String {
        guard !(open.isEmpty && hasRoot) else { throw XMLError("it has two root elements") }
        guard open.count < Self.maximumDepth else { throw XMLError("its elements lie too deep") }
        position += 1
        let name = try takeName()
        // Attributes: only quotes matter, since a > may stand inside of them.
        while true {
            guard position < bytes.count else { throw XMLError("it ends inside a tag") }
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: ">") { break }
            if byte == UInt8(ascii: "<") { throw XMLError("a tag holds a <") }
            if byte == UInt8(ascii: "/") {
                guard position < bytes.count, bytes[position] == UInt8(ascii: ">") else {
                    throw XMLError("a tag holds a /")
                }
                position += 1
                closesNext = true
                break
            }
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                guard let end = bytes[position...].firstIndex(of: byte) else {
                    throw XMLError("it ends inside a tag")
                }
                position = end + 1
            }
        }
        hasRoot = true
        open.append(name)
        return Self.localName(name)
    }

    private mutating func takeEnd() throws(XMLError) {
        position += 2
        let name = try takeName()
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
        guard position < bytes.count, bytes[position] == UInt8(ascii: ">") else {
            throw XMLError("an end tag does not end")
        }
        position += 1
        guard let begun = open.popLast(), begun == name else { throw XMLError("its tags do not match") }
    }

    private mutating func takeName() throws(XMLError) -> ArraySlice<UInt8> {
        let start = position
        while position < bytes.count, Self.isNameByte(bytes[position]) { position += 1 }
        guard position > start, position - start <= Self.maximumNameBytes else {
            throw XMLError("an element has no name, or too long a one")
        }
        return bytes[start..<position]
    }

    /// Up to the next tag, with references resolved.
    private mutating func takeText() throws(XMLError) -> [UInt8] {
        var text: [UInt8] = []
        while position < bytes.count, bytes[position] != UInt8(ascii: "<") {
            if bytes[position] == UInt8(ascii: "&") {
                try takeReference(into: &text)
            } else {
                text.append(bytes[position])
                position += 1
            }
            guard text.count <= Self.maximumTextBytes else { throw XMLError("a text is too long") }
        }
        return text
    }

    private mutating func takeReference(into text: inout [UInt8]) throws(XMLError) {
        // The longest is &#x10FFFF;
        guard let end = bytes[position...].prefix(12).firstIndex(of: UInt8(ascii: ";")) else {
            throw XMLError("a reference does not end")
        }
        let name = String(decoding: bytes[(position + 1)..<end], as: UTF8.self)
        position = end + 1
        switch name {
        case "lt": text.append(UInt8(ascii: "<"))
        case "gt": text.append(UInt8(ascii: ">"))
        case "amp": text.append(UInt8(ascii: "&"))
        case "quot": text.append(UInt8(ascii: "\""))
        case "apos": text.append(UInt8(ascii: "'"))
        default:
            guard name.hasPrefix("#") else { throw XMLError("it uses an entity that XML does not have") }
            let isHex = name.hasPrefix("#x")
            let digits = name.dropFirst(isHex ? 2 : 1)
            guard digits.first != "+", digits.first != "-",
                let value = UInt32(digits, radix: isHex ? 16 : 10),
                value > 0, let scalar = Unicode.Scalar(value)
            else { throw XMLError("a reference names no character") }
            text.append(contentsOf: UTF8.encode(scalar) ?? .init())
        }
    }

    private func starts(with prefix: StaticString) -> Bool {
        let count = prefix.utf8CodeUnitCount
        guard bytes.count - position >= count else { return false }
        return prefix.withUTF8Buffer { unsafe $0.elementsEqual(bytes[position..<(position + count)]) }
    }

    private mutating func skip(past end: StaticString) throws(XMLError) {
        while position < bytes.count {
            if starts(with: end) {
                position += end.utf8CodeUnitCount
                return
            }
            position += 1
        }
        throw XMLError("it ends inside a comment or an instruction")
    }

    /// Without the name-space prefix.
    private static func localName(_ name: ArraySlice<UInt8>) -> String {
        let local = name.lastIndex(of: UInt8(ascii: ":")).map { name[($0 + 1)...] } ?? name
        return String(decoding: local, as: UTF8.self)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
            UInt8(ascii: ":"), 0x80...:
            true
        default: false
        }
    }
}
