/// Keeps secrets out of logs that somebody handed to them by mistake.
package enum SecretWords {
    static let replacement = "<redacted>"

    private static let words = [
        "secret", "password", "passwd", "passphrase", "token", "authorization", "credential", "apikey",
        "privatekey", "accesskey", "signature", "cookie",
    ]

    /// Whether a value under such a key is hidden whatever it is.
    static func isSecret(key: String) -> Bool {
        let plain = key.lowercased().filter { $0.isLetter }
        return words.contains { plain.contains($0) }
    }

    /// Parameters whose values are secret, as S3 has them in URLs.
    private static let parameters = [
        "x-amz-signature=", "x-amz-credential=", "x-amz-security-token=", "signature=", "awsaccesskeyid=",
        "authorization: ", "bearer ",
    ]

    /// The text without users and passwords in URLs, and without signatures.
    package static func redacted(_ text: String) -> String {
        var bytes = Array(text.utf8)
        return redact(&bytes) ? String(decoding: bytes, as: UTF8.self) : text
    }

    /// The same for what may be no UTF-8.
    package static func redacted(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        _ = redact(&bytes)
        return bytes
    }

    /// Whether something was.
    private static func redact(_ bytes: inout [UInt8]) -> Bool {
        var isChanged = false
        var position = 0
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: ":"), let user = userInformation(bytes, after: position) {
                bytes.replaceSubrange(user, with: replacement.utf8)
                isChanged = true
                position = user.lowerBound
            } else if let value = value(bytes, at: position) {
                bytes.replaceSubrange(value, with: replacement.utf8)
                isChanged = true
                position = value.lowerBound + replacement.utf8.count
            } else {
                position += 1
            }
        }
        return isChanged
    }

    /// `user:password` of `://user:password@`.
    private static func userInformation(_ bytes: [UInt8], after colon: Int) -> Range<Int>? {
        guard colon + 3 < bytes.count, bytes[colon + 1] == UInt8(ascii: "/"),
            bytes[colon + 2] == UInt8(ascii: "/")
        else { return nil }
        var end = colon + 3
        // A password may have any sign that ends other values.
        let ends: [UInt8] = [UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#")]
        while end < bytes.count, bytes[end] > 0x20, !ends.contains(bytes[end]) {
            if bytes[end] == UInt8(ascii: "@") { return end > colon + 3 ? colon + 3..<end : nil }
            end += 1
        }
        return nil
    }

    private static func value(_ bytes: [UInt8], at position: Int) -> Range<Int>? {
        let first = bytes[position] | 0x20
        guard
            first == UInt8(ascii: "x") || first == UInt8(ascii: "s") || first == UInt8(ascii: "a")
                || first == UInt8(ascii: "b")
        else { return nil }
        for parameter in parameters where bytes.count - position > parameter.utf8.count {
            let matches = zip(parameter.utf8, bytes[position...]).allSatisfy { word, byte in
                (0x41...0x5A).contains(byte) ? byte | 0x20 == word : byte == word
            }
            guard matches else { continue }
            let start = position + parameter.utf8.count
            var end = start
            // A header's value goes to its line's end.
            let isHeader = parameter.hasSuffix(": ")
            while end < bytes.count, isHeader ? bytes[end] != 10 && bytes[end] != 13 : !isEnd(bytes[end]) {
                end += 1
            }
            if end > start { return start..<end }
        }
        return nil
    }

    private static func isEnd(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == UInt8(ascii: "&") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
            || byte == UInt8(ascii: ",") || byte == UInt8(ascii: ")") || byte == UInt8(ascii: ">")
    }
}
