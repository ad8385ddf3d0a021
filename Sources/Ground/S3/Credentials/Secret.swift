/// Text that is used, never shown: no description, dump or interpolation tells it.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    private let text: String

    package init(_ text: String) { self.text = text }

    /// The text itself, for the one place that needs it. Never to be stored, logged or put into an error.
    package func revealed<Result>(_ body: (String) -> Result) -> Result { body(text) }

    package var description: String { "<secret>" }
    package var debugDescription: String { "<secret>" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// An access key with its secret.
package struct S3Credentials: Equatable, Sendable {
    /// Not secret by itself, but never shown either: it tells whose account it is.
    package var accessKey: Secret
    package var secretKey: Secret
    package var sessionToken: Secret?
    /// Seconds since the epoch; nil when they do not expire.
    package var expires: Int64?
    /// Where they came from, for messages: `the environment`, `profile x in ~/.aws/credentials`.
    package var origin: String

    package init(
        accessKey: String, secretKey: String, sessionToken: String? = nil, expires: Int64? = nil,
        origin: String
    ) {
        self.accessKey = Secret(accessKey)
        self.secretKey = Secret(secretKey)
        self.sessionToken = sessionToken.map { Secret($0) }
        self.expires = expires
        self.origin = origin
    }
}
