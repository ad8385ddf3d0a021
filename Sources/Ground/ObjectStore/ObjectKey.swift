/// The name of an object inside its store, such as `packs/3f/3f90…`.
///
/// Segments of `a-z`, `0-9`, `.`, `_` and `-`, separated by `/`; no segment is empty or starts with a dot
/// (a directory store keeps its own files under such names); at most 512 bytes. So a key is the same
/// on S3 and on every file system, can never climb out of the store, and compares as bytes.
package struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let maximumBytes = 512

    /// ASCII, so that string order is byte order.
    package let text: String

    /// Nil when `text` is not a key.
    package init?(_ text: String) {
        guard Self.isValid(text) else { return nil }
        self.text = text
    }

    package static func < (left: ObjectKey, right: ObjectKey) -> Bool { left.text < right.text }

    package var description: String { text }

    private static func isValid(_ text: String) -> Bool {
        let bytes = text.utf8
        guard bytes.count <= maximumBytes, bytes.last != UInt8(ascii: "/") else { return false }
        var atSegmentStart = true
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"), UInt8(ascii: "-"):
                atSegmentStart = false
            case UInt8(ascii: "."):
                if atSegmentStart { return false }
            case UInt8(ascii: "/"):
                if atSegmentStart { return false }
                atSegmentStart = true
            default:
                return false
            }
        }
        return !bytes.isEmpty
    }
}

extension ObjectKey {
    /// A key made of parts that the caller's own format fixes, such as hexadecimal digits.
    package init(trusted text: String) {
        assert(Self.isValid(text), "a format's own key is not valid: \(text)")
        self.text = text
    }
}
