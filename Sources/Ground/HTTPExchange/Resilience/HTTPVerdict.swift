/// What an answer means for its request.
package enum HTTPVerdict: Sendable {
    /// It is the caller's, whatever its status.
    case deliver
    /// To be asked for again. `isThrottle` when the server has too much to do; `after` is how long it asked to be left
    /// alone, in nanoseconds. `code` is the server's word for it, for messages.
    case retry(isThrottle: Bool, after: UInt64?, code: String? = nil)
    /// The exchange ends with this error.
    case fail(HTTPError)

    /// By the status alone: 5xx (but 501 and 505, which say never, and 507, which says full), 429 and 408 are retried.
    package static func standard(_ head: HTTPResponseHead) -> HTTPVerdict {
        switch head.status {
        case 429, 503: .retry(isThrottle: true, after: retryAfter(head))
        case 501, 505, 507: .deliver
        case 408, 500...599: .retry(isThrottle: false, after: retryAfter(head))
        default: .deliver
        }
    }

    /// `retry-after` in seconds; the form with a date is not for machines that are asked to wait a moment.
    package static func retryAfter(_ head: HTTPResponseHead) -> UInt64? {
        guard let seconds = head["retry-after"].flatMap({ HTTPContentRange.decimal($0) }) else { return nil }
        return min(seconds, 60) * 1_000_000_000
    }
}

/// Whether a failed attempt is worth another one.
struct RetryRule {
    enum Failure: Hashable {
        /// The origin may be away, or the network is bad: patience helps.
        case availability
        /// The answer was damaged. May be chance; three times is not.
        case damage
        /// Nothing will change.
        case final
    }

    private static let damagedAnswers = 3
    private var damaged = 0

    /// An attempt that ended in an error.
    mutating func judge(_ error: HTTPError, _ request: HTTPRequest) -> Failure {
        switch error.code {
        // Nothing was sent: any request may go again.
        case .cannotResolve, .cannotConnect: return .availability
        case .timedOut, .connectionLost: return request.isRepeatable ? .availability : .final
        case .malformed, .unexpected:
            damaged += 1
            return request.isRepeatable && damaged < Self.damagedAnswers ? .damage : .final
        case .untrusted, .refused, .cancelled, .unusable: return .final
        }
    }
}
