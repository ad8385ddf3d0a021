package import DatasetStore
package import System

/// `DATASET[@REF][:PATH]`, as people type it.
package struct ReferencePath: Sendable, Hashable {
    package var reference: SnapshotReference
    /// Empty for the root.
    package var path: ByteString

    /// Names of datasets and refs hold no colon, so the first one starts the path. In the path `\xNN` stands
    /// for a byte, as the other commands print it, so that what was printed can be pasted.
    package init(_ argument: ByteString) throws(SnapshotReferenceError) {
        let colon = argument.bytes.firstIndex(of: UInt8(ascii: ":")) ?? argument.bytes.endIndex
        reference = try SnapshotReference(String(decoding: argument.bytes[..<colon], as: UTF8.self))
        path = Self.unescaped(argument.bytes[colon...].dropFirst())
    }

    static func unescaped(_ bytes: ArraySlice<UInt8>) -> ByteString {
        var plain: [UInt8] = []
        var rest = bytes
        while let byte = rest.first {
            if byte == UInt8(ascii: "\\"), rest.dropFirst().first == UInt8(ascii: "x"),
                let value = value(rest.dropFirst(2).prefix(2))
            {
                plain.append(value)
                rest = rest.dropFirst(4)
            } else {
                plain.append(byte)
                rest = rest.dropFirst()
            }
        }
        return ByteString(plain)
    }

    private static func value(_ digits: ArraySlice<UInt8>) -> UInt8? {
        guard digits.count == 2 else { return nil }
        return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
