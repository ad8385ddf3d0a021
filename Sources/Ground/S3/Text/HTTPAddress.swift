package import HTTPExchange

/// `http(s)://host[:port][/path][?query]`, as endpoints and credential services are given. No user, no fragment.
package struct HTTPAddress: Hashable, Sendable {
    package var origin: HTTPOrigin
    /// Path and query, starting with `/`.
    package var target: String

    /// Nil when `text` is no such address.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        let isSecure: Bool
        let rest: ArraySlice<UInt8>
        if bytes.starts(with: "https://".utf8) {
            (isSecure, rest) = (true, bytes.dropFirst(8))
        } else if bytes.starts(with: "http://".utf8) {
            (isSecure, rest) = (false, bytes.dropFirst(7))
        } else {
            return nil
        }
        // Printable ASCII only: what follows goes into a request line.
        guard bytes.count <= 4096, rest.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") })
        else { return nil }
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
        guard let (host, port) = Self.hostAndPort(rest[..<end]) else { return nil }
        origin = HTTPOrigin(isSecure: isSecure, host: host, port: port)
        let target = String(decoding: rest[end...], as: UTF8.self)
        self.target = target.hasPrefix("/") ? target : "/" + target
    }

    private static func hostAndPort(_ text: ArraySlice<UInt8>) -> (host: String, port: UInt16?)? {
        var host = text
        var port: UInt16?
        let afterBracket =
            text.lastIndex(of: UInt8(ascii: "]")).map { text.index(after: $0) } ?? text.startIndex
        if let colon = text[afterBracket...].lastIndex(of: UInt8(ascii: ":")) {
            let digits = text[(colon + 1)...]
            guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let number = UInt16(String(decoding: digits, as: UTF8.self)), number > 0
            else { return nil }
            port = number
            host = text[..<colon]
        }
        if host.first == UInt8(ascii: "[") {
            guard host.last == UInt8(ascii: "]"), host.count > 2 else { return nil }
            host = host.dropFirst().dropLast()
            guard host.allSatisfy({ isHexDigit($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") })
            else {
                return nil
            }
        } else {
            guard !host.isEmpty, host.count <= 253, host.allSatisfy(isHostByte) else { return nil }
        }
        return (String(decoding: host, as: UTF8.self).lowercased(), port)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
