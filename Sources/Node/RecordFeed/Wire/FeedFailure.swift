import KamlProtos

/// Why a request is not done, in words for the pod's user.
package struct FeedFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: Int, Sendable {
        case invalid = 1
        case notFound, denied, exhausted, corrupt, unavailable, unsupported
    }

    package var code: Code
    /// Whether the same request may succeed later.
    package var isRetryable: Bool
    /// Dataset, path and cause.
    package var message: String
    /// What to do about it.
    package var remedy: String

    package init(_ code: Code, _ message: String, remedy: String, isRetryable: Bool? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.isRetryable = isRetryable ?? (code == .unavailable || code == .exhausted)
    }

    package var description: String { "\(message). \(remedy)" }

    static func invalid(_ message: String, remedy: String = "Correct the request") -> FeedFailure {
        FeedFailure(.invalid, message, remedy: remedy)
    }

    /// `position`: of the batch that it is about, in `trouble` only.
    func message(position: UInt64 = 0) -> Kaml_Feed_V1_Failure {
        var failure = Kaml_Feed_V1_Failure()
        failure.code = Kaml_Feed_V1_Failure.Code(rawValue: code.rawValue) ?? .unspecified
        failure.isRetryable = isRetryable
        // A message holds 64 KiB in all.
        failure.message = String(message.prefix(4096))
        failure.remedy = String(remedy.prefix(1024))
        failure.position = position
        return failure
    }
}
