import System

/// Runs late reads' second requests: one thread that waits for the next one due, and a few that send.
final class HedgeTimer: Sendable {
    private struct Entry {
        var due: UInt64
        var race: HedgeRace
    }

    private struct State {
        var entries: [Entry] = []
        /// The next one due; those before are done with.
        var start = 0
        var isStarted = false
        var isStopped = false
        var sending = 0
    }

    /// Second requests under way at once, over all origins.
    private static let mostAtOnce = 8

    /// Requests end thousands a second: not each is worth waking up for.
    private static let tick: UInt64 = 5_000_000

    private let state = Monitor(State())
    private let parker = Parker()
    private let clock: any Clock

    init(clock: any Clock) { self.clock = clock }

    /// `race` gets its second request at `due` (monotonic nanoseconds), unless it is decided by then.
    func schedule(_ race: HedgeRace, at due: UInt64) {
        let (isNext, mustStart) = state.withLock { state in
            // Delays are much the same, so this nearly always appends.
            var index = state.entries.count
            while index > state.start, state.entries[index - 1].due > due { index -= 1 }
            state.entries.insert(Entry(due: due, race: race), at: index)
            defer { state.isStarted = true }
            return (index == state.start, !state.isStarted)
        }
        if mustStart {
            // Without the thread there are no second requests, and nothing else is lost.
            do {
                let thread = try Thread(name: "kaml-hedge") { self.run() }
                thread.detach()
            } catch {
                // The next one tries again; until then nobody would take entries out.
                state.withLock { state in
                    state.isStarted = false
                    state.entries.removeAll()
                    state.start = 0
                }
            }
        } else if isNext {
            parker.unpark()
        }
    }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            state.entries.removeAll()
            state.start = 0
        }
        parker.unpark()
    }

    private func run() {
        while true {
            let now = clock.monotonicNanoseconds()
            let next = state.withLock { state -> (stop: Bool, due: [HedgeRace], wait: UInt64?) in
                if state.isStopped { return (true, [], nil) }
                var due: [HedgeRace] = []
                while state.start < state.entries.count {
                    let entry = state.entries[state.start]
                    // Those decided stay until then, too: an emptied list would have the next request wake this thread.
                    guard entry.due <= now else { break }
                    if !entry.race.isDecided { due.append(entry.race) }
                    state.start += 1
                }
                if state.start == state.entries.count || state.start >= 1024 {
                    state.entries.removeFirst(state.start)
                    state.start = 0
                }
                let wait = state.entries.isEmpty ? nil : max(state.entries[state.start].due - now, Self.tick)
                return (false, due, wait)
            }
            if next.stop { return }
            for race in next.due { send(race) }
            if next.due.isEmpty { parker.park(nanoseconds: next.wait) }
        }
    }

    private func send(_ race: HedgeRace) {
        let mayGo = state.withLock { state in
            guard state.sending < Self.mostAtOnce else { return false }
            state.sending += 1
            return true
        }
        guard mayGo else { return }
        do {
            let thread = try Thread(name: "kaml-hedged") {
                race.runSecond()
                self.state.withLock { $0.sending -= 1 }
            }
            thread.detach()
        } catch {
            state.withLock { $0.sending -= 1 }
        }
    }
}
