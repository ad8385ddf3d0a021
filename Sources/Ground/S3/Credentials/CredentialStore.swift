package import System

/// The credentials of the moment, for many threads: got once, renewed before they expire, by one thread at a time.
package final class CredentialStore: Sendable {
    private let provider: any CredentialProvider
    private let clock: any Clock
    private let state = Monitor(CredentialState())

    package init(_ provider: any CredentialProvider, clock: any Clock) {
        self.provider = provider
        self.clock = clock
    }

    /// Waits where another thread is getting them and there are none to use meanwhile.
    package func current() throws(CredentialError) -> S3Credentials {
        let decision = state.wait { state -> CredentialState.Decision? in
            let decision = state.decide(
                now: clock.now().seconds, monotonic: clock.monotonicNanoseconds())
            if case .wait = decision { return nil }
            return decision
        }
        switch decision {
        case .use(let credentials): return credentials
        case .fail(let error): throw error
        case .get, .wait: break
        }
        let outcome = Result { () throws(CredentialError) in try get() }
        let result = state.withLock {
            $0.got(outcome, now: clock.now().seconds, monotonic: clock.monotonicNanoseconds())
        }
        state.wake()
        return try result.get()
    }

    /// The server did not take these. True when asking again gave others, so that a second try makes sense.
    package func replace(_ refused: S3Credentials) throws(CredentialError) -> Bool {
        state.withLock { $0.refuse(refused) }
        let now = try current()
        return now.accessKey != refused.accessKey || now.secretKey != refused.secretKey
            || now.sessionToken != refused.sessionToken
    }

    private func get() throws(CredentialError) -> S3Credentials {
        guard let credentials = try provider.credentials() else {
            throw CredentialError(
                "no credentials were found",
                advice:
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or KAML_S3_ANONYMOUS=1 for a public bucket"
            )
        }
        return credentials
    }
}

/// When credentials are got, used and renewed. No I/O, no lock.
struct CredentialState {
    enum Decision: Equatable {
        case use(S3Credentials)
        /// The caller gets new ones and tells `got`.
        case get
        /// Somebody else is getting them, and there are none to use.
        case wait
        /// Somebody just tried in vain.
        case fail(CredentialError)
    }

    /// How long before their end credentials are renewed, in seconds.
    static let renewalLead: Int64 = 300
    /// How long a failure is believed, in nanoseconds: many threads must not ask a dead service one after the other.
    static let failurePause: UInt64 = 3_000_000_000

    private var current: S3Credentials?
    private var isGetting = false
    private var failure: (error: CredentialError, at: UInt64)?

    mutating func decide(now: Int64, monotonic: UInt64) -> Decision {
        let usable = current.flatMap { isUsable($0, now) ? $0 : nil }
        if let usable, (usable.expires ?? .max) - now > Self.renewalLead { return .use(usable) }
        if isGetting { return usable.map(Decision.use) ?? .wait }
        if let failure, monotonic &- failure.at < Self.failurePause {
            return usable.map(Decision.use) ?? .fail(failure.error)
        }
        isGetting = true
        return .get
    }

    /// What the caller may use now: after a failed renewal the old ones, as long as they last.
    mutating func got(
        _ outcome: Result<S3Credentials, CredentialError>, now: Int64, monotonic: UInt64
    ) -> Result<S3Credentials, CredentialError> {
        isGetting = false
        switch outcome {
        case .success(let credentials):
            current = credentials
            failure = nil
            return outcome
        case .failure(let error):
            failure = (error, monotonic)
            guard let current, isUsable(current, now) else { return outcome }
            return .success(current)
        }
    }

    /// Does nothing when others have come meanwhile.
    mutating func refuse(_ refused: S3Credentials) {
        guard current == refused else { return }
        current = nil
        failure = nil
    }

    private func isUsable(_ credentials: S3Credentials, _ now: Int64) -> Bool {
        (credentials.expires ?? .max) > now
    }
}
