import Glibc
package import MountHolder
package import System

/// Goes on with what the holder keeps: at the start, and again while something cannot be gone on with. Finds out when
/// the holder is away, and gives one that was restarted what it has forgotten, long before the next mount is asked for.
package final class HolderWatch: Sendable {
    private struct State {
        var trouble: HolderError?
        var hasTakenOver = false
        var isEnding = false
    }

    private let holder: HolderClient
    private let mounts: MountRegistry
    private let events: EventLog
    private let clock: any Clock
    private let state = Monitor(State())

    private static let pauseMicroseconds: UInt32 = 1_000_000
    private static let longestRetryNanoseconds: UInt64 = 60_000_000_000

    package init(
        _ holder: HolderClient, _ mounts: MountRegistry, events: EventLog, clock: any Clock = HostClock()
    ) {
        self.holder = holder
        self.mounts = mounts
        self.events = events
        self.clock = clock
    }

    /// Why the holder cannot be asked now.
    package var trouble: String? { state.withLock { $0.trouble.map { "\($0)" } } }

    /// Waits until every held mount is served or known to be stranded; false when the agent ends before.
    package func waitUntilTakenOver() -> Bool {
        state.wait { state in state.hasTakenOver ? true : state.isEnding ? false : nil }
    }

    package func end() {
        state.withLock { $0.isEnding = true }
        state.wake()
    }

    /// Until `end`, or a second after it.
    package func run() {
        // An earlier agent's socket may not be closed yet; what is wrong is told by the first look.
        try? holder.connect(patienceMilliseconds: 2000)
        var retryAfter: UInt64 = 1_000_000_000
        var nextRound: UInt64? = 0
        var retakes = RetakeLimit()
        while !state.withLock({ $0.isEnding }) {
            let now = clock.monotonicNanoseconds()
            if mounts.takeBrokenMounts() {
                // The holder has their connections still: their users wait, and get no error.
                if retakes.allows(at: now) {
                    nextRound = nextRound ?? now
                } else {
                    events.add(
                        "notRetaken",
                        "mounts broke \(RetakeLimit.most) times in ten minutes and are left as they are; restart the agent "
                            + "to go on with them, or unmount them", severity: .error)
                }
            }
            do throws(HolderError) {
                if let due = nextRound, now >= due {
                    let stranded = try mounts.takeOver(from: holder)
                    nextRound = stranded == 0 ? nil : now + retryAfter
                    retryAfter = min(retryAfter * 2, Self.longestRetryNanoseconds)
                    tookOver()
                } else {
                    try holder.check()
                }
                answered()
            } catch {
                if nextRound == nil {
                    // It may have been restarted, and keep mounts that nobody here knows of.
                    nextRound = 0
                    retryAfter = 1_000_000_000
                }
                didNotAnswer(error)
            }
            usleep(Self.pauseMicroseconds)
        }
    }

    private func tookOver() {
        state.withLock { $0.hasTakenOver = true }
        state.wake()
    }

    private func answered() {
        let wasAway = state.withLock { state in
            defer { state.trouble = nil }
            return state.trouble != nil
        }
        if wasAway { events.add("holderBack", "the mount holder answers again") }
    }

    private func didNotAnswer(_ error: HolderError) {
        let isNews = state.withLock { state in
            defer { state.trouble = error }
            return state.trouble == nil
        }
        if isNews {
            events.add(
                "holderAway", "\(error); what is mounted is served on, and nothing new can be mounted",
                severity: .error)
        }
    }
}
