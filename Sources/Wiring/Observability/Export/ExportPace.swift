/// How long to wait between requests to a collector that has trouble, and when to give a batch up. Trouble of one batch
/// slows the next: a collector that is not there is asked once in half a minute.
struct ExportPace {
    static let base: UInt64 = 1_000_000_000
    static let cap: UInt64 = 30_000_000_000
    /// However long a collector asks for.
    static let longest: UInt64 = 60_000_000_000
    /// Requests for one batch.
    static let attempts = 4

    enum Next: Hashable {
        case retry(after: UInt64)
        /// Drop the batch, and let the next one wait.
        case giveUp(pause: UInt64)
    }

    /// In a row, over all batches.
    private var failures = 0
    private var attempts = 0

    mutating func begin() { attempts = 0 }

    mutating func succeeded() { failures = 0 }

    /// `random`: any word.
    mutating func failed(askedFor: UInt64?, random: UInt64) -> Next {
        failures += 1
        attempts += 1
        let most = min(Self.cap, Self.base << UInt64(min(failures - 1, 8)))
        // From half of it to all: collectors come back to everybody at once.
        let delay = most / 2 + random % (most / 2 + 1)
        let wait = min(max(delay, askedFor ?? 0), Self.longest)
        return attempts < Self.attempts && failures <= Self.attempts ? .retry(after: wait) : .giveUp(pause: wait)
    }
}
