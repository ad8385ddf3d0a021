import Glibc
import KamlProtos
import System

/// A file of a debug bundle.
package struct DebugFile: Sendable {
    package var name: String
    package var bytes: [UInt8]

    init(_ name: String, _ bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    init(_ name: String, _ text: String) { self.init(name, Array(text.utf8)) }
}

enum DebugFiles {
    static let pieceBytes = 256 << 10
    private static let largest = 4 << 20

    /// What Linux tells about this process that a bug report needs, and that holds no secrets: neither its environment nor
    /// its command line.
    static func ofProcess() -> [DebugFile] {
        let names = [
            "status", "limits", "mountinfo", "io", "smaps_rollup", "cgroup", "stat", "schedstat",
        ]
        var files = names.compactMap { name in
            read(ByteString("/proc/self/\(name)")).map { DebugFile("proc/\(name)", $0) }
        }
        files.append(DebugFile("proc/fd", descriptors()))
        for name in ["version", "meminfo", "loadavg", "uptime", "filesystems"] {
            if let bytes = read(ByteString("/proc/\(name)")) {
                files.append(DebugFile("proc/host/\(name)", bytes))
            }
        }
        return files
    }

    private static func read(_ path: ByteString) -> [UInt8]? {
        guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: largest)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in try? unsafe file.read(into: buffer, at: 0)
        }
        return count.map { Array(bytes.prefix($0)) }
    }

    /// What each descriptor is, a line for each.
    private static func descriptors() -> String {
        let folder: ByteString = "/proc/self/fd"
        let entries = (try? HostFileSystem().list(folder)) ?? []
        return entries.map { entry in
            var target = [CChar](repeating: 0, count: 4096)
            let count = unsafe folder.appending(entry.name).withCString {
                unsafe readlink($0, &target, target.count - 1)
            }
            let bytes = target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
            return "\(entry.name) \(ByteString(Array(bytes)))\n"
        }.joined()
    }
}

/// Numbers about this process.
enum ProcessFacts {
    static var processID: Int32 { getpid() }

    static func resources() -> Kaml_Agent_V1_ProcessStatus {
        var resources = Kaml_Agent_V1_ProcessStatus()
        for line in text("/proc/self/status").split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count >= 2, let value = UInt64(words[1]) else { continue }
            switch words[0] {
            case "VmRSS:": resources.residentBytes = value * 1024
            case "RssAnon:": resources.anonymousBytes = value * 1024
            case "Threads:": resources.threads = value
            default: break
            }
        }
        resources.openDescriptors = UInt64((try? HostFileSystem().list("/proc/self/fd").count) ?? 0)
        var limit = rlimit()
        if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            resources.descriptorLimit = UInt64(limit.rlim_cur)
        }
        var usage = rusage()
        if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
            let microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
            resources.cpuSeconds = Double(seconds) + Double(microseconds) / 1e6
        }
        return resources
    }

    static func text(_ path: ByteString) -> String {
        guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return "" }
        var bytes = [UInt8](repeating: 0, count: 16 << 10)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            (try? unsafe file.read(into: buffer, at: 0)) ?? 0
        }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
