import CCrypto

/// What an object's ETag says of its bytes.
struct ObjectTag {
    let md5: [UInt8]

    /// Nil for tags that are no MD5: those of multipart uploads have a dash, others any form. Of an encrypted object the
    /// tag looks like one and is none.
    init?(_ tag: String) {
        let digits = Array(tag.utf8)
        guard digits.count == 32 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 32, by: 2) {
            guard let high = Self.value(digits[index]), let low = Self.value(digits[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        md5 = bytes
    }

    func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var digest = [UInt8](repeating: 0, count: 16)
        // A machine on which MD5 is forbidden cannot tell.
        guard unsafe EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_md5(), nil) == 1 else {
            return true
        }
        return digest == md5
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
