/// A budget that work earns and exceptions spend: retries, or hedges, as a share of the requests.
struct TokenBucket {
    let capacity: Double
    /// What one request earns.
    let perRequest: Double
    private(set) var tokens: Double

    /// Full at the start, so that the first few failures need not be earned.
    init(capacity: Double, perRequest: Double) {
        self.capacity = capacity
        self.perRequest = perRequest
        self.tokens = capacity
    }

    mutating func earn() { tokens = min(capacity, tokens + perRequest) }

    /// Whether there was one to spend.
    mutating func spend() -> Bool {
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}
