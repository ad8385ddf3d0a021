import Glibc
import System

enum ProcessAge {
    /// Since this process started, to a hundredth of a second; nil when Linux does not tell.
    static var nanoseconds: UInt64? {
        // proc(5): the 22nd field of stat, in ticks since the machine's start. The name, in brackets, may hold anything.
        guard let afterName = ProcessFacts.text("/proc/self/stat").split(separator: ")").last else {
            return nil
        }
        let fields = afterName.split(separator: " ")
        let ticksInSecond = UInt64(clamping: sysconf(Int32(_SC_CLK_TCK)))
        guard fields.count > 19, let ticks = UInt64(fields[19]), ticksInSecond > 0 else { return nil }
        let (scaled, overflow) = ticks.multipliedReportingOverflow(by: 1_000_000_000)
        var now = timespec()
        guard !overflow, unsafe clock_gettime(CLOCK_BOOTTIME, &now) == 0 else { return nil }
        let uptime = UInt64(clamping: now.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: now.tv_nsec)
        let start = scaled / ticksInSecond
        return uptime > start ? uptime - start : 0
    }
}
