package import System

/// A tree of values that a command prints: one tree, two encoders (`JSONText`, `YAMLText`).
///
/// The shape is the stable contract of `-o json`: keys are camelCase and come sorted, absent things are left
/// out rather than null, sizes are bytes, times are RFC 3339 in UTC, ids are lower-case hexadecimal.
package indirect enum OutputValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    case list([OutputValue])
    case object([String: OutputValue])
}

extension OutputValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: OutputValue...) { self = .list(elements) }
    package init(dictionaryLiteral elements: (String, OutputValue)...) {
        self = .object(Dictionary(elements, uniquingKeysWith: { _, last in last }))
    }
}

extension OutputValue {
    package static func count(_ value: Int) -> OutputValue { .integer(Int64(value)) }

    /// Seconds to the millisecond: more digits would be noise in every diff of two outputs.
    package static func seconds(_ value: Double) -> OutputValue { .number((value * 1000).rounded() / 1000) }

    /// A ratio to three digits.
    package static func ratio(_ value: Double?) -> OutputValue? {
        value.map { .number(($0 * 1000).rounded() / 1000) }
    }

    package static func time(_ value: Timestamp) -> OutputValue { .string(TimeText.utc(value)) }
}

/// An object under construction, whose absent fields are left out.
package struct OutputObject {
    package private(set) var fields: [String: OutputValue]

    package init(_ fields: [String: OutputValue] = [:]) { self.fields = fields }

    package var value: OutputValue { .object(fields) }

    package subscript(key: String) -> OutputValue? {
        get { fields[key] }
        set { fields[key] = newValue }
    }

    /// Sets `key` to the text of bytes. Bytes that are not valid UTF-8 cannot be a JSON string: then `key` holds
    /// them with `\xNN` for people, and `<key>Bytes` holds all of them in hexadecimal, without loss.
    package mutating func set(_ key: String, _ bytes: ByteString) {
        if let text = String(validating: bytes.bytes, as: UTF8.self) {
            fields[key] = .string(text)
        } else {
            fields[key] = .string(bytes.description)
            fields[key + "Bytes"] = .string(HexText.of(bytes.bytes))
        }
    }
}

/// Lower-case hexadecimal.
enum HexText {
    private static let digits = Array("0123456789abcdef".utf8)

    static func of(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
