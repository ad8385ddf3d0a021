import ArgumentParser
import Glibc
import Synchronization
import System

/// open + read + close of every file under a directory, the way a data loader does it.
struct ReadFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "readfiles", abstract: "Open, read and close every file under a directory.")

    @Argument(help: "The directory.") var directory: String
    @Option(help: "Threads, each with its own share of the files.") var threads = 1
    @Option(help: "Go round for so many seconds; without it each file is read once.") var seconds: Double?

    func run() throws {
        let files = try Self.files(under: ByteString(directory))
        guard !files.isEmpty else { throw ValidationError("no files under \(directory)") }
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let deadline = seconds.map { start + UInt64($0 * 1e9) }
        let totals = Totals()
        var workers: [ThreadHandle] = []
        for worker in 0..<max(1, threads) {
            let share = stride(from: worker, to: files.count, by: max(1, threads)).map { files[$0] }
            workers.append(
                ThreadHandle(
                    try Thread(name: "reader-\(worker)") { Self.read(share, until: deadline, totals) }))
        }
        for worker in workers { worker.join() }
        let elapsed = Double(clock.monotonicNanoseconds() - start) / 1e9
        let count = totals.files.load(ordering: .relaxed)
        let bytes = totals.bytes.load(ordering: .relaxed)
        let failures = totals.failures.load(ordering: .relaxed)
        print(#"{"files": \#(count), "bytes": \#(bytes), "failures": \#(failures), "seconds": \#(elapsed)}"#)
        if failures > 0 { throw ExitCode.failure }
    }

    private final class Totals: Sendable {
        let files = Atomic<Int>(0)
        let bytes = Atomic<Int>(0)
        let failures = Atomic<Int>(0)
    }

    private static func read(_ files: [ByteString], until deadline: UInt64?, _ totals: Totals) {
        let clock = HostClock()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { unsafe buffer.deallocate() }
        repeat {
            var bytes = 0
            var count = 0
            for file in files {
                unsafe file.withCString { path in
                    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
                    guard descriptor >= 0 else {
                        totals.failures.add(1, ordering: .relaxed)
                        return
                    }
                    while true {
                        let got = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                        if got < 0 { totals.failures.add(1, ordering: .relaxed) }
                        if got <= 0 { break }
                        bytes += got
                        // A short read is the file's end: no second call to learn that.
                        if got < buffer.count { break }
                    }
                    close(descriptor)
                }
                count += 1
                if count & 255 == 0, let deadline, clock.monotonicNanoseconds() > deadline { break }
            }
            totals.files.add(count, ordering: .relaxed)
            totals.bytes.add(bytes, ordering: .relaxed)
        } while deadline.map { clock.monotonicNanoseconds() < $0 } ?? false
    }

    private static func files(under directory: ByteString) throws -> [ByteString] {
        let host = HostFileSystem()
        var pending = [directory]
        var files: [ByteString] = []
        while let next = pending.popLast() {
            for entry in try host.list(next).sorted(by: { $0.name < $1.name }) {
                let path = next.appending(entry.name)
                switch try host.status(of: path).kind {
                case .directory: pending.append(path)
                case .regular: files.append(path)
                case .symlink, .other: break
                }
            }
        }
        return files
    }
}

/// A thread in an array: `Thread` itself cannot be copied.
final class ThreadHandle {
    private var thread: Thread?
    init(_ thread: consuming Thread) { self.thread = consume thread }
    func join() {
        if let thread = thread.take() { thread.join() }
    }
}
