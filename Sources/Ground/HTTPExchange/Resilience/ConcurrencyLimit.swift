/// How many requests an origin gets at once: found by trying. It grows while more at once brings more through, stays
/// where it does not, gives back what it does not need, and halves when the server asks for less.
///
/// Hill climbing on throughput, in windows in which the limit was really used (as BBR does, an unused limit tells
/// nothing). Not on latency: for large answers that rises with every request that shares a link, long before the link
/// is full.
struct ConcurrencyLimit {
    static let range = 1.0...128.0

    private enum Phase {
        /// Half as many more each window, while it pays.
        case climbing
        /// Windows since the last change of mind.
        case holding(windows: Int)
        /// Tries whether this many more, or fewer, does as well as `from`.
        case trying(from: Double, rate: Double)
    }

    /// What one request costs beside its bytes, as bytes: small requests count, too.
    private static let requestCost: UInt64 = 32 << 10
    private static let shortestWindow: UInt64 = 100_000_000
    private static let windowsHeld = 8

    private(set) var limit: Double
    private var phase = Phase.climbing
    /// Work per nanosecond in the last window, at the limit then.
    private var lastRate = 0.0
    private var fruitless = 0
    private var triesDown = false

    private var windowStart: UInt64?
    private var windowWork: UInt64 = 0
    private var windowEnds = 0
    private var wasUsedUp = false
    private var lastCut: UInt64?

    init(start: Double = 8) { limit = start }

    /// The whole number in force.
    var current: Int { max(1, Int(limit)) }

    /// Somebody began, and now there are so many.
    mutating func began(inFlight: Int, now: UInt64) {
        if windowStart == nil { windowStart = now }
        if inFlight >= current { wasUsedUp = true }
    }

    /// One ended well, with so many bytes.
    mutating func ended(bytes: UInt64, now: UInt64) {
        windowWork += bytes + Self.requestCost
        windowEnds += 1
        guard let start = windowStart, now > start else { return }
        let age = now - start
        guard age >= Self.shortestWindow, windowEnds >= current || age >= 20 * Self.shortestWindow else {
            return
        }
        let rate = Double(windowWork) / Double(age)
        if wasUsedUp { judge(rate, now: now) }
        windowStart = now
        (windowWork, windowEnds, wasUsedUp) = (0, 0, false)
    }

    /// The server said that it has too much to do, to a request of that start. Counts once for all that were under way
    /// together.
    mutating func throttled(start: UInt64, now: UInt64) {
        if let lastCut, start < lastCut { return }
        lastCut = now
        limit = clamped(limit / 2)
        phase = .holding(windows: 0)
        windowStart = nil
        (windowWork, windowEnds, wasUsedUp) = (0, 0, false)
    }

    private mutating func judge(_ rate: Double, now: UInt64) {
        defer { lastRate = rate }
        switch phase {
        case .climbing:
            if rate > lastRate * 1.15 {
                fruitless = 0
                limit = clamped(limit * 1.5)
            } else {
                // One bad window may be chance.
                fruitless += 1
                guard fruitless >= 2 else { return }
                fruitless = 0
                limit = clamped(limit / 1.5)
                phase = .holding(windows: 0)
            }
        case .holding(let windows):
            guard windows + 1 >= Self.windowsHeld else {
                phase = .holding(windows: windows + 1)
                return
            }
            phase = .trying(from: limit, rate: rate)
            limit = clamped(triesDown ? min(limit - 1, limit * 0.8) : max(limit + 1, limit * 1.25))
            triesDown.toggle()
        case .trying(let from, let before):
            if limit > from, rate > before * 1.1 {
                phase = .climbing
            } else {
                let keepsLess = limit < from && rate > before * 0.97
                if !keepsLess { limit = from }
                phase = .holding(windows: 0)
            }
        }
    }

    private func clamped(_ value: Double) -> Double {
        min(max(value, Self.range.lowerBound), Self.range.upperBound)
    }
}
