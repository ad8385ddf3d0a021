package import HTTPExchange

/// Which answers of S3 are worth asking for again.
package enum S3Verdict {
    /// Refusals whose status does not tell that they pass.
    private static let passing: Set = [
        "RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InternalError",
    ]

    @Sendable package static func evaluate(
        _ request: HTTPRequest, _ head: HTTPResponseHead, _ errorBody: [UInt8]
    ) -> HTTPVerdict {
        let code = errorBody.isEmpty ? nil : ErrorAnswer(errorBody)?.code
        if case .retry(let isThrottle, let after, _) = HTTPVerdict.standard(head) {
            return .retry(isThrottle: isThrottle, after: after, code: code)
        }
        guard head.status == 400, let code else { return .standard(head) }
        if code == "SlowDown" { return .retry(isThrottle: true, after: nil, code: code) }
        return passing.contains(code) ? .retry(isThrottle: false, after: nil, code: code) : .standard(head)
    }
}
