import Synchronization
package import System

/// Whether the agent's parts still move. A probe that does not come back for longer than `patience` is told as a problem.
package final class HealthWatch: Sendable {
    package struct Probe: Sendable {
        /// What is looked at, as the subject of a sentence.
        package var name: String
        /// Returns what is wrong, or nil. It may hang, on a thread of its own.
        package var check: @Sendable () -> String?

        package init(_ name: String, check: @escaping @Sendable () -> String?) {
            self.name = name
            self.check = check
        }
    }

    private struct State {
        /// When the check that runs began, by probe.
        var running: [String: UInt64] = [:]
        var findings: [String: String] = [:]
    }

    private let probes: [Probe]
    private let patience: UInt64
    private let clock: any Clock
    private let state = Mutex(State())

    package init(_ probes: [Probe], patienceSeconds: UInt64 = 15, clock: any Clock = HostClock()) {
        self.probes = probes
        patience = patienceSeconds * 1_000_000_000
        self.clock = clock
    }

    /// Starts every probe that is not under way, each on a thread of its own.
    package func look() {
        let now = clock.monotonicNanoseconds()
        for probe in probes {
            let isFree = state.withLock { state in
                guard state.running[probe.name] == nil else { return false }
                state.running[probe.name] = now
                return true
            }
            guard isFree else { continue }
            do throws(Errno) {
                try Thread(name: "kaml-health") { [self] in
                    let finding = probe.check()
                    state.withLock { state in
                        state.running[probe.name] = nil
                        state.findings[probe.name] = finding
                    }
                }
                .detach()
            } catch {
                state.withLock { state in
                    state.running[probe.name] = nil
                    state.findings[probe.name] = "no thread to look at it: \(error)"
                }
            }
        }
    }

    /// The parts that do not move any more: where a restart may help.
    package var stuck: [String] {
        let now = clock.monotonicNanoseconds()
        return state.withLock { state in
            state.running.filter { now &- $0.value > patience }.keys.sorted()
        }
    }

    /// What is wrong now, a sentence for each.
    package var problems: [String] {
        let now = clock.monotonicNanoseconds()
        return state.withLock { state in
            probes.compactMap { probe in
                if let since = state.running[probe.name], now &- since > patience {
                    return "\(probe.name): no answer for \((now &- since) / 1_000_000_000) s"
                }
                return state.findings[probe.name].map { "\(probe.name): \($0)" }
            }
        }
    }
}
