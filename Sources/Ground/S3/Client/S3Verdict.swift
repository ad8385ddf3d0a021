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
        guard head.status == 400, let code = ErrorAnswer(errorBody)?.code else { return .standard(head) }
        if code == "SlowDown" { return .retry(isThrottle: true, after: nil) }
        return passing.contains(code) ? .retry(isThrottle: false, after: nil) : .standard(head)
    }
}
