/// A dataset's name, such as `imagenet` or `vision/imagenet`.
///
/// Segments of letters, digits, `.`, `_` and `-`, separated by `/`; no segment is empty or starts with `.` or
/// `-`; at most 200 bytes. ASCII, so that equality is equality of bytes.
package struct DatasetName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let maximumBytes = 200

    package let text: String

    /// Nil when `text` is not a name.
    package init?(_ text: String) {
        guard NameRule.accepts(text) else { return nil }
        self.text = text
    }

    package static func < (left: DatasetName, right: DatasetName) -> Bool { left.text < right.text }
    package var description: String { text }
}

/// The name of a branch or a tag; the same rule as for datasets.
package struct RefName: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The branch that a reference without `@` means.
    package static let main = RefName(known: "main")

    package let text: String

    /// Nil when `text` is not a name.
    package init?(_ text: String) {
        guard NameRule.accepts(text) else { return nil }
        self.text = text
    }

    private init(known text: String) { self.text = text }

    package static func < (left: RefName, right: RefName) -> Bool { left.text < right.text }
    package var description: String { text }
}

/// What both kinds of names are made of. `@` and `~` stay free for references.
enum NameRule {
    static let remedy =
        "names are made of A-Z a-z 0-9 . _ - and /, no part starts with . or -, at most \(DatasetName.maximumBytes) bytes"

    static func accepts(_ text: String) -> Bool {
        guard text.utf8.count <= DatasetName.maximumBytes else { return false }
        return text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy { part in
            guard let first = part.first, first != UInt8(ascii: "."), first != UInt8(ascii: "-") else { return false }
            return part.allSatisfy(isNameByte)
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
