/// Writes a value as JSON (RFC 8259): two spaces a level, keys in byte order, a newline at the end.
package enum JSONText {
    package static func encode(_ value: OutputValue) -> String {
        var text = ""
        append(value, depth: 0, to: &text)
        return text + "\n"
    }

    /// The same on one line.
    package static func line(_ value: OutputValue) -> String {
        var text = ""
        // Line ends inside of texts are escaped: all that is left belongs to the layout.
        for line in encode(value).split(separator: "\n") { text += line.drop { $0 == " " } }
        return text + "\n"
    }

    /// A value as it stands inside of others, without a newline at its end.
    static func nested(_ value: OutputValue, depth: Int) -> String {
        var text = ""
        append(value, depth: depth, to: &text)
        return text
    }

    private static func append(_ value: OutputValue, depth: Int, to text: inout String) {
        switch value {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .unsigned(let value): text += String(value)
        case .number(let value): text += number(value)
        case .string(let value): text += quoted(value)
        case .list(let values):
            appendAll(values, open: "[", close: "]", depth: depth, to: &text) { value, text in
                append(value, depth: depth + 1, to: &text)
            }
        case .object(let fields):
            appendAll(sorted(fields), open: "{", close: "}", depth: depth, to: &text) { field, text in
                text += quoted(field.key) + ": "
                append(field.value, depth: depth + 1, to: &text)
            }
        }
    }

    private static func appendAll<Item>(
        _ items: [Item], open: String, close: String, depth: Int, to text: inout String,
        _ appendItem: (Item, inout String) -> Void
    ) {
        text += open
        let indent = String(repeating: "  ", count: depth + 1)
        for (index, item) in items.enumerated() {
            text += index == 0 ? "\n" : ",\n"
            text += indent
            appendItem(item, &text)
        }
        if !items.isEmpty { text += "\n" + indent.dropLast(2) }
        text += close
    }

    /// Byte order, so that the order is the same on every machine and in every locale.
    static func sorted(_ fields: [String: OutputValue]) -> [(key: String, value: OutputValue)] {
        fields.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    /// JSON knows neither infinities nor NaN.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        guard value == value.rounded(), abs(value) < 1e15 else { return "\(value)" }
        return String(Int64(value))
    }

    static func quoted(_ value: String) -> String {
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
