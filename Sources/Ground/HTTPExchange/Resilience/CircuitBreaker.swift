/// Whether an origin is to be left alone. After several failures in a row it is; then one request at a time asks
/// whether it is back, so that thousands who wait neither hammer it nor miss its return.
struct CircuitBreaker {
    /// Failures in a row, from any requests, after which it opens.
    let threshold: Int
    /// Between two probes, in nanoseconds: the first, and the longest. The longest bounds how late a recovery is seen.
    let firstInterval: UInt64
    let longestInterval: UInt64

    private(set) var isOpen = false
    private var failures = 0
    private var isProbing = false
    private var interval: UInt64
    private var nextProbe: UInt64 = 0

    init(threshold: Int = 8, firstInterval: UInt64 = 100_000_000, longestInterval: UInt64 = 1_000_000_000) {
        self.threshold = threshold
        self.firstInterval = firstInterval
        self.longestInterval = longestInterval
        self.interval = firstInterval
    }

    enum Probe: Equatable {
        /// It may go, now; `succeeded`, `failed` or `abandoned` must follow.
        case go
        case at(UInt64)
        /// One is under way: its end decides.
        case busy
    }

    /// Takes the turn to probe, where it is free. Also for retries that have no budget, while the circuit is closed.
    mutating func probe(now: UInt64) -> Probe {
        if isProbing { return .busy }
        guard now >= nextProbe else { return .at(nextProbe) }
        isProbing = true
        return .go
    }

    /// An answer came that was no failure.
    mutating func succeeded(isProbe: Bool) {
        failures = 0
        isOpen = false
        interval = firstInterval
        nextProbe = 0
        if isProbe { isProbing = false }
    }

    /// `after` is how long the server asked to be left alone.
    mutating func failed(isProbe: Bool, after: UInt64, now: UInt64) {
        failures += 1
        if isProbe {
            isProbing = false
            nextProbe = now + max(interval, after)
            interval = min(longestInterval, interval * 2)
        }
        guard !isOpen, failures >= threshold else { return }
        isOpen = true
        nextProbe = max(nextProbe, now + max(firstInterval, after))
    }

    /// The exchange ended without saying anything about the origin.
    mutating func abandoned(isProbe: Bool) {
        if isProbe { isProbing = false }
    }
}
