import ServiceLifecycle
import System

/// Tells the service manager how the agent does. A manager that does not listen is no reason to end.
struct ManagerService: Service {
    let manager: ServiceManager
    let agent: NodeAgent
    let health: HealthWatch

    private static let startInterval = Duration.milliseconds(20)
    private static let longestInterval = Duration.seconds(1)

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var isReady = false
            var status = ""
            while !Task.isCancelled {
                if !isReady, agent.hasStarted {
                    try? manager.notify(.ready)
                    isReady = true
                }
                if manager.watchdogMicroseconds != nil, health.stuck.isEmpty {
                    try? manager.notify(.watchdog)
                }
                let newStatus = summary
                if newStatus != status { try? manager.notify(.status(newStatus)) }
                status = newStatus
                // Cut short by the shutdown, which is no failure.
                try? await Task.sleep(for: isReady ? interval : Self.startInterval)
            }
        }
        try? manager.notify(.stopping, .status("ending"))
    }

    private var interval: Duration {
        guard let watchdog = manager.watchdogMicroseconds else { return Self.longestInterval }
        return min(.microseconds(Int64(clamping: watchdog)), Self.longestInterval)
    }

    private var summary: String {
        let problems = health.problems + [agent.holderWatch?.trouble].compactMap(\.self)
        if let first = problems.first {
            return problems.count == 1 ? first : "\(problems.count) problems: \(first)"
        }
        if !agent.hasStarted { return "starting" }
        let records = agent.mounts.records
        let stranded = records.count { $0.state == .stranded }
        return stranded == 0
            ? "\(records.count) mounts"
            : "\(records.count) mounts, \(stranded) of them cannot be gone on with"
    }
}
