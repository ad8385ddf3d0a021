/// Why no credentials could be had.
package struct CredentialError: Error, Hashable, Sendable, CustomStringConvertible {
    package var reason: String
    /// What to do.
    package var advice: String
    /// Whether the same may work a little later: a service that did not answer.
    package var isTemporary: Bool

    init(_ reason: String, advice: String, isTemporary: Bool = false) {
        self.reason = reason
        self.advice = advice
        self.isTemporary = isTemporary
    }

    package var description: String { "\(reason); \(advice)" }
}
