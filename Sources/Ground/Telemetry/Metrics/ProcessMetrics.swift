import Glibc
import System

/// What Linux tells about this process.
package enum ProcessMetrics {
    /// Has the registry tell it at every scrape.
    package static func register(in registry: MetricsRegistry) {
        let start = startTime()
        registry.collect { collection in
            if let start { collection.set(MetricCatalogue.processStartTimeSeconds, to: start * 1e9) }
            collect(into: &collection)
        }
    }

    private static func collect(into collection: inout MetricCollection) {
        var usage = rusage()
        if unsafe getrusage(RUSAGE_SELF.rawValue, &usage) == 0 {
            collection.add(
                MetricCatalogue.processCpuSeconds, nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime))
        }
        if let status = read("/proc/self/status") {
            let text = String(decoding: status, as: UTF8.self)
            for line in text.split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
                guard words.count >= 2, let number = UInt64(words[1]) else { continue }
                switch words[0] {
                case "VmSize:":
                    collection.add(MetricCatalogue.processVirtualMemoryBytes, number.multipliedOrMax(1024))
                case "VmRSS:":
                    collection.add(MetricCatalogue.processResidentMemoryBytes, number.multipliedOrMax(1024))
                case "RssAnon:":
                    collection.add(MetricCatalogue.processAnonymousMemoryBytes, number.multipliedOrMax(1024))
                case "Threads:": collection.add(MetricCatalogue.processThreads, number)
                default: break
                }
            }
        }
        if let count = openDescriptors() { collection.add(MetricCatalogue.processOpenFds, count) }
        var limit = rlimit()
        if unsafe getrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            collection.add(MetricCatalogue.processMaxFds, limit.rlim_cur)
        }
    }

    private static func nanoseconds(_ time: timeval) -> UInt64 {
        UInt64(clamping: time.tv_sec) * 1_000_000_000 + UInt64(clamping: time.tv_usec) * 1000
    }

    private static func openDescriptors() -> Int? {
        guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
        defer { unsafe closedir(directory) }
        var count = 0
        while let entry = unsafe readdir(directory) {
            if unsafe entry.pointee.d_name.0 != CChar(bitPattern: UInt8(ascii: ".")) { count += 1 }
        }
        // The one that reads the directory is not counted.
        return count - 1
    }

    /// Seconds since 1970: the machine's start plus the ticks until the process started (proc(5), stat's 22nd field).
    private static func startTime() -> Double? {
        guard let stat = read("/proc/self/stat"), let machine = read("/proc/stat") else { return nil }
        // The name, in brackets, may hold anything.
        let afterName = String(decoding: stat, as: UTF8.self).split(separator: ")").last ?? ""
        let fields = afterName.split(separator: " ")
        let boot = String(decoding: machine, as: UTF8.self).split(separator: "\n").first {
            $0.hasPrefix("btime ")
        }
        guard fields.count > 19, let ticks = Double(fields[19]),
            let boot = boot?.split(separator: " ").last.flatMap({ Double($0) })
        else { return nil }
        return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// A file of /proc, whose size is not known before it is read; 64 KiB of it at most.
    private static func read(_ path: String) -> [UInt8]? {
        guard let file = try? FileDescriptor.open(ByteString(path), O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            try? unsafe file.read(into: buffer, at: 0)
        }
        return count.map { Array(bytes[..<$0]) }
    }
}

extension UInt64 {
    fileprivate func multipliedOrMax(_ factor: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? .max : product
    }
}
