extension HTTPField {
    /// A byte of a token (RFC 9110, 5.6.2).
    package static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

extension HTTPRequest {
    /// Throws `.unusable` where the request could not be sent as it stands, or would say something else on the wire:
    /// line ends in fields, blanks in the target, an empty range.
    package func checkSendable() throws(HTTPError) {
        if let flaw { throw HTTPError(.unusable, origin, "the request cannot be sent: \(flaw)") }
    }

    /// Names no value: values hold secrets.
    private var flaw: String? {
        let host = origin.host.utf8
        let isHost = { (byte: UInt8) in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "."),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ":"):
                true
            default: false
            }
        }
        guard !host.isEmpty, host.count <= 255, host.allSatisfy(isHost) else {
            return "its host is no host name"
        }
        guard target.utf8.first == UInt8(ascii: "/"),
            target.utf8.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "#") })
        else { return "its path is not percent-encoded" }
        if let range {
            guard method == .get, !range.isEmpty else { return "it has a range that makes no sense" }
        }
        for field in fields {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy(HTTPField.isNameByte) else {
                return "a field's name is no token"
            }
            guard field.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                return "the field \(field.name) holds control characters"
            }
            guard !["host", "content-length", "range", "transfer-encoding"].contains(field.name.lowercased())
            else {
                return "the field \(field.name) follows from the request"
            }
        }
        return nil
    }
}
