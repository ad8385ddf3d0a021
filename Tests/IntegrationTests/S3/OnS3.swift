import Glibc
import KamlTestSupport
import System
import Testing

/// Tests over real S3 servers: one at a time, since the servers share the machine with what they serve.
@Suite(.serialized, .enabled(if: canMount, "needs root and /dev/fuse"))
struct OnS3 {}

extension Lab {
    /// Makes every program of this lab work on one store in the server's bucket; gives its URL.
    @discardableResult
    func use(_ server: S3Server, prefix: String? = nil, through proxy: FaultProxy? = nil) -> String {
        let url = "s3://\(server.bucket)/\(prefix ?? server.newPrefix())"
        set(server.environment(proxy?.endpoint).merging(["KAML_STORE": url]) { $1 })
        return url
    }

    /// Bytes of memory that a process has at the most taken, by its status.
    func peakMemory(_ process: pid_t) throws -> Int {
        let status = String(decoding: try readWhole(ByteString("/proc/\(process)/status")), as: UTF8.self)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        let kilobytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
        guard let kilobytes, let count = Int(kilobytes) else { throw Trouble("no VmHWM of \(process)") }
        return count << 10
    }
}

/// Seconds that something takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
    let clock = HostClock()
    let start = clock.monotonicNanoseconds()
    try body()
    return Double(clock.monotonicNanoseconds() - start) / 1e9
}
