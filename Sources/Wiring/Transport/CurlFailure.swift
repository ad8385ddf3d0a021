import CCurl
import HTTPExchange

/// A curl call that did not work.
struct CurlFailure: Error {
    let code: CURLcode

    static func check(_ code: CURLcode) throws(CurlFailure) {
        if code != CURLE_OK { throw CurlFailure(code: code) }
    }

    /// Whether a handshake failed because the connection went, in the words of OpenSSL and GnuTLS. curl has one code for
    /// that and for a server that does not speak TLS.
    private static func tellsOfALoss(_ message: String) -> Bool {
        [
            "SSL_ERROR_SYSCALL", "SSL_ERROR_ZERO_RETURN", "Connection reset", "Broken pipe", "unexpected eof",
            "non-properly terminated", "pull function", "push function",
        ].contains { message.contains($0) }
    }

    /// Whether a handshake met a server that answers with something else, in the words of the same two.
    private static func meetsNoTLS(_ message: String) -> Bool {
        ["wrong version number", "packet length too long", "unexpected TLS packet"]
            .contains { message.contains($0) }
    }

    /// Whether the address that curl could not connect to is another one than the server's.
    private static func meansProxy(_ message: String, _ origin: HTTPOrigin) -> Bool {
        let host = origin.host.filter { $0 != "[" && $0 != "]" }
        let port = origin.port ?? (origin.isSecure ? 443 : 80)
        return message.hasPrefix("Failed to connect to ")
            && !message.lowercased().hasPrefix("failed to connect to \(host) port \(port) ".lowercased())
    }

    /// curl's own words for it.
    var text: String {
        guard let text = unsafe curl_easy_strerror(code) else { return "curl error \(code.rawValue)" }
        return unsafe String(cString: text)
    }

    /// `message` is what curl wrote of this very failure: addresses and certificates, never fields or bodies, but perhaps
    /// the address of a proxy with its password, which is not shown.
    func error(_ origin: HTTPOrigin, message: String, hasHead: Bool, options: TransportOptions) -> HTTPError {
        guard !message.contains("proxy syntax"), !message.contains("proxy scheme") else {
            return HTTPError(
                .unusable, origin,
                "the proxy's address is no URL that can be used: check --proxy, https_proxy, http_proxy and all_proxy"
            )
        }
        let detail = message.isEmpty || message.contains("@") ? text : message
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST:
            return HTTPError(
                .cannotResolve, origin, "the name cannot be resolved: check it, and the name servers")
        case CURLE_COULDNT_RESOLVE_PROXY:
            return HTTPError(
                .cannotResolve, origin, "the proxy's name cannot be resolved: check the proxy's address")
        case CURLE_COULDNT_CONNECT where Self.meansProxy(message, origin):
            return HTTPError(
                .cannotConnect, origin,
                "the proxy cannot be reached: \(detail): check --proxy, https_proxy, http_proxy and all_proxy"
            )
        case CURLE_COULDNT_CONNECT:
            return HTTPError(.cannotConnect, origin, "\(detail): check the address, and that the server runs")
        case CURLE_PROXY:
            return HTTPError(.cannotConnect, origin, "the proxy refused: \(detail)")
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ISSUER_ERROR:
            return HTTPError(
                .untrusted, origin,
                "\(detail): name the authority that signed the server's certificate in a CA file")
        case CURLE_SSL_CONNECT_ERROR where Self.tellsOfALoss(message):
            return HTTPError(
                .cannotConnect, origin, "the connection was lost in the TLS handshake: \(detail)")
        case CURLE_SSL_CONNECT_ERROR where Self.meetsNoTLS(message):
            return HTTPError(
                .cannotConnect, origin,
                "the server does not speak TLS at this port: its endpoint may be meant as http://, or another port"
            )
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_INVALIDCERTSTATUS:
            return HTTPError(.untrusted, origin, "the TLS handshake failed: \(detail)")
        case CURLE_SSL_CACERT_BADFILE:
            let path = options.caFile ?? "of the system"
            return HTTPError(
                .unusable, origin, "the CA file \(path) cannot be used: check that it holds PEM certificates")
        case CURLE_OPERATION_TIMEDOUT:
            return HTTPError(.timedOut, origin, detail)
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING,
            CURLE_FILESIZE_EXCEEDED, CURLE_HTTP2, CURLE_HTTP3:
            return HTTPError(.malformed, origin, "the answer breaks HTTP's rules: \(detail)")
        case CURLE_RECV_ERROR where message.contains("CONNECT"):
            return HTTPError(.cannotConnect, origin, "the proxy refused: \(detail)")
        case CURLE_RECV_ERROR where message.contains("chunk"):
            return HTTPError(.malformed, origin, "the answer breaks HTTP's rules: \(detail)")
        case CURLE_OUT_OF_MEMORY where !hasHead:
            // What libcurl before 7.89 says of a line that is longer than its bound.
            return HTTPError(
                .malformed, origin, "a line of the answer's head is too long, or memory is short")
        case CURLE_GOT_NOTHING where !origin.isSecure:
            return HTTPError(
                .connectionLost, origin,
                "the connection was closed without an answer, which is also what a server does that wants https://"
            )
        case CURLE_PARTIAL_FILE, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_GOT_NOTHING:
            return HTTPError(.connectionLost, origin, "the connection was lost: \(detail)")
        default:
            return HTTPError(.unusable, origin, "libcurl failed: \(detail)")
        }
    }
}
