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
            let decision = state.decide(monotonic: clock.monotonicNanoseconds())
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

    /// The server did not take these; not `isCertain` where it may have been for another reason. True when asking again
    /// gave others, so that a second try makes sense.
    package func replace(_ refused: S3Credentials, isCertain: Bool) throws(CredentialError) -> Bool {
        let isToAsk = state.withLock {
            $0.refuse(refused, isCertain: isCertain, monotonic: clock.monotonicNanoseconds())
        }
        guard isToAsk else { return false }
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

    /// How long before their end credentials are renewed, in nanoseconds.
    static let renewalLead: UInt64 = 300_000_000_000
    /// How long a failure is believed: many threads must not ask a dead service one after the other.
    static let failurePause: UInt64 = 3_000_000_000
    /// Between two renewals of credentials that are good for now, or may be. Also how long new ones are used that have
    /// expired by this machine's clock, which is more likely to be wrong than the service that has just made them.
    static let renewalPause: UInt64 = 60_000_000_000

    /// Times are monotonic, from when they were received on: the wall clock may be set meanwhile.
    private struct Held {
        var credentials: S3Credentials
        var renewAt: UInt64
        var endsAt: UInt64

        init(_ credentials: S3Credentials, now: Int64, monotonic: UInt64) {
            self.credentials = credentials
            guard let expires = credentials.expires else {
                (renewAt, endsAt) = (.max, .max)
                return
            }
            let (seconds, overflow) = expires.subtractingReportingOverflow(now)
            let years: Int64 = 1 << 30
            let lifetime = overflow ? 0 : UInt64(min(max(seconds, 0), years)) * 1_000_000_000
            let pause = CredentialState.renewalPause
            endsAt = monotonic + max(lifetime, pause)
            renewAt =
                monotonic
                + max(
                    lifetime > CredentialState.renewalLead ? lifetime - CredentialState.renewalLead : 0, pause
                )
        }
    }

    private var held: Held?
    private var isGetting = false
    private var failure: (error: CredentialError, at: UInt64)?
    private var lastRefusal: UInt64?

    mutating func decide(monotonic: UInt64) -> Decision {
        let usable = usable(monotonic)
        if let usable, let held, monotonic < held.renewAt { return .use(usable) }
        if isGetting { return usable.map(Decision.use) ?? .wait }
        if let failure, monotonic &- failure.at < Self.failurePause {
            return usable.map(Decision.use) ?? .fail(failure.error)
        }
        isGetting = true
        return .get
    }

    /// What the caller may use now: after a failed renewal the old ones, as long as they last. `now` is the wall clock's,
    /// in seconds, by which the service tells when they end.
    mutating func got(
        _ outcome: Result<S3Credentials, CredentialError>, now: Int64, monotonic: UInt64
    ) -> Result<S3Credentials, CredentialError> {
        isGetting = false
        switch outcome {
        case .success(let credentials):
            held = Held(credentials, now: now, monotonic: monotonic)
            failure = nil
            return outcome
        case .failure(let error):
            failure = (error, monotonic)
            return usable(monotonic).map { .success($0) } ?? outcome
        }
    }

    /// Whether it makes sense to ask for others: they have come already, or are to be got now. Where the refusal may be
    /// about something else, these stay in use if no others come, and are asked for anew once a minute at most.
    mutating func refuse(_ refused: S3Credentials, isCertain: Bool, monotonic: UInt64) -> Bool {
        guard held?.credentials == refused else { return true }
        if let lastRefusal, monotonic &- lastRefusal < (isCertain ? Self.failurePause : Self.renewalPause) {
            return false
        }
        lastRefusal = monotonic
        failure = nil
        if isCertain { held = nil } else { held?.renewAt = monotonic }
        return true
    }

    private func usable(_ monotonic: UInt64) -> S3Credentials? {
        held.flatMap { monotonic < $0.endsAt ? $0.credentials : nil }
    }
}
