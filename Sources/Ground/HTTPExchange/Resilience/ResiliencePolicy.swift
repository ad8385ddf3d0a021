/// How much is done for a request before it fails. Durations are in nanoseconds.
package struct ResiliencePolicy: Sendable {
    /// Without a new byte, from the first attempt on or since the last progress: then the request fails.
    package var patience: UInt64
    /// The same for an origin that has never answered: more likely its address is wrong.
    package var firstPatience: UInt64
    package var backoffBase: UInt64
    package var backoffCap: UInt64
    /// Retries as a share of the requests; beyond it, one retry at a time goes to each origin.
    package var retryShare: Double
    /// Retries that need not be earned first.
    package var retryBurst: Double
    /// Second requests for late answers, as a share of the requests; 0 for none.
    package var hedgeShare: Double

    package init(
        patience: UInt64 = 30_000_000_000, firstPatience: UInt64 = 5_000_000_000,
        backoffBase: UInt64 = 50_000_000, backoffCap: UInt64 = 2_000_000_000, retryShare: Double = 0.15,
        retryBurst: Double = 20, hedgeShare: Double = 0.05
    ) {
        self.patience = patience
        self.firstPatience = firstPatience
        self.backoffBase = backoffBase
        self.backoffCap = backoffCap
        self.retryShare = retryShare
        self.retryBurst = retryBurst
        self.hedgeShare = hedgeShare
    }
}

/// What a client has done so far, over all origins.
package struct ResilienceStatistics: Hashable, Sendable {
    /// Exchanges that callers asked for.
    package var requests: UInt64 = 0
    /// Attempts after the first.
    package var retries: UInt64 = 0
    package var hedges: UInt64 = 0
    /// Hedges that answered before the first request did.
    package var hedgeWins: UInt64 = 0
    /// Answers that asked for less.
    package var throttles: UInt64 = 0
    /// Reads that went on in the middle after a failure.
    package var resumed: UInt64 = 0
    /// Exchanges that ended in an error.
    package var failures: UInt64 = 0
    /// Bytes of bodies, given to receivers.
    package var bytes: UInt64 = 0

    package init() {}

    /// Of several clients.
    package static func += (sum: inout Self, other: Self) {
        sum.requests += other.requests
        sum.retries += other.retries
        sum.hedges += other.hedges
        sum.hedgeWins += other.hedgeWins
        sum.throttles += other.throttles
        sum.resumed += other.resumed
        sum.failures += other.failures
        sum.bytes += other.bytes
    }
}
