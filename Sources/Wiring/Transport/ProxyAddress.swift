import HTTPExchange

extension TransportOptions.Proxy {
    private static let schemes: Set = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]

    /// `scheme://user:password@host:port`, of which only the host must be there. Nil for anything else: libcurl would quote
    /// it in its message, password and all.
    package init?(checking url: String) {
        var rest = Substring(url)
        if let separator = rest.firstRange(of: "://") {
            guard Self.schemes.contains(rest[..<separator.lowerBound].lowercased()) else { return nil }
            rest = rest[separator.upperBound...]
        }
        if rest.hasSuffix("/") { rest.removeLast() }
        if let at = rest.lastIndex(of: "@") {
            guard rest[..<at].utf8.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "/") }) else {
                return nil
            }
            rest = rest[rest.index(after: at)...]
        }
        var host = rest
        var port: Substring?
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            host = rest[rest.index(after: rest.startIndex)..<end]
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { return nil }
            port = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = rest.firstIndex(of: ":") {
            host = rest[..<colon]
            port = rest[rest.index(after: colon)...]
        }
        if let port {
            guard let number = HTTPContentRange.decimal(port), 1...65535 ~= number else { return nil }
        }
        let origin = HTTPOrigin(isSecure: false, host: host.lowercased())
        guard (try? HTTPRequest(.get, origin, "/").checkSendable()) != nil else { return nil }
        self = .url(url)
    }
}
