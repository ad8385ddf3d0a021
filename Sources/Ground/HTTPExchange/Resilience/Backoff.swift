/// How long to wait before trying again: "full jitter", any time up to a bound that doubles, so that many who failed
/// together do not come back together.
struct Backoff {
    /// Nanoseconds.
    let base: UInt64
    let cap: UInt64

    /// The bound after `failures` failures in a row, 1 the first.
    func bound(_ failures: Int) -> UInt64 {
        let doublings = min(max(failures - 1, 0), 30)
        let (product, overflow) = base.multipliedReportingOverflow(by: 1 << UInt64(doublings))
        return overflow ? cap : min(cap, product)
    }

    func delay(_ failures: Int, random: UInt64) -> UInt64 { random % (bound(failures) + 1) }
}
