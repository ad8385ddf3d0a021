/// Writes a value as YAML 1.2 in block style, from the same tree as JSON. Output only: nothing here reads YAML.
package enum YAMLText {
    package static func encode(_ value: OutputValue) -> String {
        var text = ""
        append(value, indent: 0, to: &text)
        return text
    }

    /// A key of the outermost object, up to its colon.
    static func key(_ key: String) -> String { string(key) + ":" }

    /// An element of a list below such a key.
    static func element(_ value: OutputValue) -> String {
        var text = ""
        append(.list([value]), indent: 2, to: &text)
        return text
    }

    /// Appends a value as whole lines.
    private static func append(_ value: OutputValue, indent: Int, to text: inout String) {
        switch value {
        case .list(let values) where !values.isEmpty:
            for value in values {
                text += pad(indent) + "-"
                appendItem(value, indent: indent, to: &text)
            }
        case .object(let fields) where !fields.isEmpty:
            for (key, value) in JSONText.sorted(fields) { appendField(key, value, indent: indent, to: &text) }
        default: text += pad(indent) + scalar(value) + "\n"
        }
    }

    /// What follows the dash of a list: a mapping starts on the dash's own line.
    private static func appendItem(_ value: OutputValue, indent: Int, to text: inout String) {
        guard isBlock(value) else {
            text += " " + scalar(value) + "\n"
            return
        }
        if case .list = value {
            text += "\n"
            append(value, indent: indent + 2, to: &text)
            return
        }
        var lines = ""
        append(value, indent: indent + 2, to: &lines)
        text += " " + lines.dropFirst(indent + 2)
    }

    private static func appendField(_ key: String, _ value: OutputValue, indent: Int, to text: inout String) {
        text += pad(indent) + string(key) + ":"
        guard isBlock(value) else {
            text += " " + scalar(value) + "\n"
            return
        }
        text += "\n"
        append(value, indent: indent + 2, to: &text)
    }

    private static func isBlock(_ value: OutputValue) -> Bool {
        switch value {
        case .list(let values): !values.isEmpty
        case .object(let fields): !fields.isEmpty
        default: false
        }
    }

    private static func scalar(_ value: OutputValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .unsigned(let value): String(value)
        case .number(let value): JSONText.number(value)
        case .string(let value): string(value)
        case .list: "[]"
        case .object: "{}"
        }
    }

    /// Words that some reader takes for something else than a string.
    private static let reserved: Set<String> = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]

    /// Plain where no reader can be in doubt, else quoted as in JSON, which YAML includes.
    private static func string(_ value: String) -> String {
        let isPlain =
            value.utf8.first.map(isLetter) == true && value.utf8.allSatisfy(isPlainByte)
            && !reserved.contains(value.lowercased())
        return isPlain ? value : JSONText.quoted(value)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isPlainByte(_ byte: UInt8) -> Bool {
        isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || "_./@-".utf8.contains(byte)
    }

    private static func pad(_ count: Int) -> String { String(repeating: " ", count: count) }
}
