import Glibc
import System

extension MountRegistry {
    /// Takes no more mounts, and unmounts those that are there: in order where nobody uses them, and from their users when
    /// `graceSeconds` have passed.
    package func close(graceSeconds: Int) {
        let records = state.withLock { $0.book.close() }
        let deadline = parts.clock.monotonicNanoseconds() + UInt64(graceSeconds) * 1_000_000_000
        var left = records.map(\.id)
        while true {
            left = left.filter { id in
                do { _ = try unmount(.id(id), lazily: false) } catch {}
                return self[id] != nil
            }
            if left.isEmpty || parts.clock.monotonicNanoseconds() >= deadline { break }
            usleep(50_000)
        }
        for id in left {
            let (mount, record) = state.withLock { ($0.mounts[id], $0.book[id]) }
            guard let mount, let record else { continue }
            parts.events.add(
                "takenAway", "\(record.name) at \(record.mountPoint) was still in use", severity: .warning,
                mount: id)
            mount.takeAway()
        }
    }

    /// Stops serving, and leaves every mount to the next agent. What is in hand is answered first, where that takes no
    /// longer than `graceSeconds`, or a moment with a kernel that sends it to the next agent.
    package func letGo(graceSeconds: Int) {
        let mounts = state.withLock { state in
            _ = state.book.close()
            state.isLettingGo = true
            return state.mounts.sorted { $0.value.description.mountPoint < $1.value.description.mountPoint }
        }
        parts.events.add("letGo", "\(mounts.count) mounts are left to the next agent")
        Parallel.forEach(mounts, threads: Self.threads) { [parts] id, mount in
            let limit =
                mount.offersResend ? min(Self.momentMilliseconds, graceSeconds * 1000) : graceSeconds * 1000
            if mount.letGo(withinMilliseconds: limit) { return }
            parts.events.add(
                "notAnswered",
                "\(mount.description.name) at \(mount.description.mountPoint) had requests in hand",
                severity: .warning, mount: id)
        }
    }

    /// Mounts that are taken over or let go at one time.
    static let threads = 8
    private static let momentMilliseconds = 300
}
