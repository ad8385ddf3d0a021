package import System

/// Whether the cache's disk can be relied on, and why not.
package enum CacheCondition: Sendable, Hashable, CustomStringConvertible {
    case healthy
    /// Reads go through to the store as far as the disk does not give or take what they need.
    case degraded(Reason)

    package enum Reason: Sendable, Hashable {
        /// The directory could not be used when the cache was opened: read-only, full, failing.
        case noDirectory
        /// Another file system, or nothing, is where the directory was.
        case displaced
        case refused(Errno)
        /// A write took longer than a store would have.
        case slow
    }

    package var description: String {
        switch self {
        case .healthy: "healthy"
        case .degraded(.noDirectory): "the directory cannot be used"
        case .degraded(.displaced): "the directory was unmounted or replaced"
        case .degraded(.refused(let error)): "the disk refused a write: \(error)"
        case .degraded(.slow): "the disk is slow"
        }
    }
}

/// Writes that have begun and not ended: a disk that hangs says nothing.
struct PendingWrites: Sendable {
    private var starts: [UInt64: UInt64] = [:]
    private var next: UInt64 = 0

    mutating func begin(at now: UInt64) -> UInt64 {
        next += 1
        starts[next] = now
        return next
    }

    /// How long the write took, in nanoseconds.
    mutating func end(_ write: UInt64, at now: UInt64) -> UInt64 {
        guard let start = starts.removeValue(forKey: write) else { return 0 }
        return now - min(now, start)
    }

    /// For how long the oldest one has been under way.
    func longest(at now: UInt64) -> UInt64 {
        guard let oldest = starts.values.min() else { return 0 }
        return now - min(now, oldest)
    }
}

/// What is known of the disk, and when it is tried again: no I/O in here.
///
/// While it is in doubt nothing is written and nothing is fetched that would have to be kept; the disk is tried with a
/// small file, first after `pause`, then at twice the time each, up to `longestPause`.
struct DiskHealth: Sendable {
    private static let pause: UInt64 = 5_000_000_000
    private static let longestPause: UInt64 = 60_000_000_000

    private(set) var condition = CacheCondition.healthy
    private var nextProbe: UInt64 = 0
    private var interval = Self.pause

    /// Notes trouble; whether it is news that the operator should have.
    mutating func note(_ reason: CacheCondition.Reason, at now: UInt64) -> Bool {
        // A disk that is refused while it is gone has the one reason.
        if condition == .degraded(.displaced) || condition == .degraded(.noDirectory) { return false }
        let isNews = condition == .healthy
        condition = .degraded(reason)
        if isNews {
            interval = Self.pause
            nextProbe = now &+ interval
        }
        return isNews
    }

    /// Whether the disk is to be tried now; once for each pause.
    mutating func isProbeDue(at now: UInt64) -> Bool {
        guard condition != .healthy, now >= nextProbe else { return false }
        interval = min(interval * 2, Self.longestPause)
        nextProbe = now &+ interval
        return true
    }

    /// The disk took a file; whether that is news.
    mutating func recovered() -> Bool {
        defer { condition = .healthy }
        return condition != .healthy
    }
}
