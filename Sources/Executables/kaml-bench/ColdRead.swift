import ArgumentParser
import DatasetStore
import Glibc
import NodeCache
import ObjectStore
import Synchronization
import System

/// What the cache itself costs: one large file read once from front to back, cold, out of a directory store, with no FUSE
/// and no network.
struct ColdRead: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coldread", abstract: "Read a large file once through an empty cache, without a mount.")

    @Option(help: "Where store and cache are made, and removed in the end.") var directory: String
    @Option(help: "MiB to read.") var size = 1024
    @Option(help: "MiB that are asked for at a time, ahead of the reader.") var depth = 4

    func run() throws {
        let home = ByteString(directory).appending(ByteString("coldread-\(getpid())"))
        let files = HostFileSystem()
        try files.makeDirectory(home, mode: 0o700)
        let store = FileObjectStore(home.appending("store"))
        try store.createDirectory()
        let pack = try makePack(in: store)
        let cache = try NodeCache(directory: home.appending("cache")) { print($0) }
        let container = try cache.container(for: pack, origin: store)
        let (start, used) = (HostClock().monotonicNanoseconds(), Self.processorTime())
        let failures = read(cache, container)
        let seconds = Double(HostClock().monotonicNanoseconds() - start) / 1e9
        let processor = Self.processorTime() - used
        let statistics = cache.statistics()
        let gigabytes = Double(size) * 1_048_576 / 1e9
        print(
            #"{"bytes": \#(size << 20), "seconds": \#(seconds), "gb_per_second": \#(gigabytes / seconds), "#
                + #""cpu_seconds_per_gb": \#(processor / gigabytes), "requests": \#(statistics.fetchRequests), "#
                + #""fetched": \#(statistics.fetchedBytes), "peak_rss": \#(Self.peakResidentBytes()), "#
                + #""failures": \#(failures)}"#)
        cache.close()
        Self.remove(home, files)
        if failures > 0 { throw ExitCode.failure }
    }

    private func makePack(in store: any ObjectStore) throws -> PackReference {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: .file, in: store)
        var chunk = HostRandom().bytes(1 << 20)
        for index in 0..<size {
            for position in 0..<8 { chunk[position] = UInt8(truncatingIfNeeded: index >> (8 * position)) }
            try writer.appendPlain(chunk, fileOffset: UInt64(index) << 20)
        }
        return try writer.publish()
    }

    /// As a file system does it: what is present is read in place, the rest is fetched, several megabytes at once.
    private func read(_ cache: NodeCache, _ container: Container) -> Int {
        let state = Monitor((running: 0, failures: 0))
        let sum = Atomic<UInt64>(0)
        for index in 0..<size {
            state.wait { $0.running < depth ? () : nil }
            if container.isPresent(index) {
                cache.didRead(container, index..<(index + 1))
                container.touch()
                let bytes = unsafe UnsafeRawBufferPointer(
                    start: container.bytes + (index << 20), count: 1 << 20)
                sum.wrappingAdd(unsafe Self.sum(bytes), ordering: .relaxed)
                cache.didReply(1 << 20)
                continue
            }
            state.withLock { $0.running += 1 }
            let start = UInt64(index) << 20
            cache.fetch([FetchPart(container: container, bytes: start..<(start + (1 << 20)))]) { result in
                var failed = 1
                if case .success(let fetched) = result {
                    let bytes = unsafe fetched.bytes(part: 0, chunk: index)
                    sum.wrappingAdd(unsafe Self.sum(bytes), ordering: .relaxed)
                    failed = bytes.count == 1 << 20 ? 0 : 1
                }
                state.withLock { state in
                    state.running -= 1
                    state.failures += failed
                }
                state.wake()
            }
        }
        state.wait { $0.running == 0 ? () : nil }
        return state.withLock { $0.failures }
    }

    /// Touches every page as a copy to the kernel would.
    private static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var sum: UInt64 = 0
        var offset = 0
        while offset < bytes.count {
            sum &+= unsafe UInt64(bytes[offset])
            offset += 4096
        }
        return sum
    }

    private static func processorTime() -> Double {
        var usage = rusage()
        unsafe getrusage(numericCast(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    private static func peakResidentBytes() -> Int {
        var usage = rusage()
        unsafe getrusage(numericCast(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1024
    }

    static func remove(_ path: ByteString, _ files: HostFileSystem) {
        for entry in (try? files.list(path)) ?? [] {
            let child = path.appending(entry.name)
            if (try? files.status(of: child))?.kind == .directory {
                remove(child, files)
            } else {
                try? files.unlink(child)
            }
        }
        _ = unsafe path.withCString { unsafe rmdir($0) }
    }
}
