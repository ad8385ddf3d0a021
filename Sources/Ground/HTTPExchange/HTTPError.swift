/// Why an exchange failed. Carries no header, no query and no body: those may hold secrets.
package struct HTTPError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Hashable, Sendable {
        case cannotResolve
        case cannotConnect
        /// The server's certificate, or the TLS handshake, was refused.
        case untrusted
        case timedOut
        /// The connection went in the middle.
        case connectionLost
        /// The answer breaks HTTP's rules, or is larger than it may be.
        case malformed
        /// The answer is good HTTP but not to what was asked: 200 for a range, another range, another length.
        case unexpected
        /// The server said no; `status` tells which no.
        case refused
        case cancelled
        /// This client cannot do what was asked, or is set up wrongly.
        case unusable
    }

    package var code: Code
    package var origin: HTTPOrigin
    package var detail: String
    /// The status of the answer, when there was one.
    package var status: Int?

    package init(_ code: Code, _ origin: HTTPOrigin, _ detail: String, status: Int? = nil) {
        self.code = code
        self.origin = origin
        self.detail = detail
        self.status = status
    }

    package var description: String { "\(origin): \(detail)" }
}
