import DatasetStore
import Glibc
import Synchronization
import System

/// Reads complete containers that were written past the page cache into it, one after the other, while nothing else is
/// fetched: their next opens may then be the kernel's own (passthrough), and every mount and every pod shares those
/// pages. Until then a reader does better with what its mount's page cache has of the first read.
final class PageFiller: Sendable {
    private struct State {
        var waiting: [Container] = []
        var isRunning = false
        var isStopped = false
    }

    private let context: CacheContext
    private let isBusy: @Sendable () -> Bool
    private let state = Monitor(State())
    private let hasEnded = Parker()
    private static let pieceBytes = 1 << 20
    /// Read between two looks at what else goes on.
    private static let stretchBytes: UInt64 = 64 << 20
    /// Containers that wait at most: a node that reads thousands of large files has no memory for them anyway.
    private static let mostWaiting = 64
    /// Microseconds of a break while others fetch.
    private static let pause: UInt32 = 20_000
    private static let endPatience: UInt64 = 5_000_000_000

    init(_ context: CacheContext, isBusy: @escaping @Sendable () -> Bool) {
        self.context = context
        self.isBusy = isBusy
    }

    /// Asks for a container whose readers have its pages elsewhere. Does nothing when it waits already.
    func add(_ container: Container) {
        let starts = state.withLock { state in
            guard !state.isStopped, state.waiting.count < Self.mostWaiting,
                !state.waiting.contains(where: { $0 === container })
            else { return false }
            state.waiting.append(container)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard starts else { return }
        do throws(Errno) {
            try Thread(name: "kaml-cache-fill") { [self] in run() }.detach()
        } catch {
            // Readers go on with their mounts' pages.
            state.withLock { state in (state.waiting, state.isRunning) = ([], false) }
        }
    }

    func stop() {
        let waits = state.withLock { state in
            defer { state.isStopped = true }
            state.waiting = []
            return state.isRunning && !state.isStopped
        }
        if waits { hasEnded.park(nanoseconds: Self.endPatience) }
    }

    private func run() {
        // This thread's alone, on Linux: readers come first.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 4096)
        defer { unsafe buffer.deallocate() }
        while let container = next() {
            if unsafe fill(container, buffer) { container.isWithReaders.store(false, ordering: .relaxed) }
            state.withLock { if !$0.waiting.isEmpty { $0.waiting.removeFirst() } }
        }
        hasEnded.unpark()
    }

    /// Stays in the queue while it is worked on. Nil ends the thread.
    private func next() -> Container? {
        state.withLock { state in
            if state.waiting.isEmpty { state.isRunning = false }
            return state.waiting.first
        }
    }

    private var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Whether its pages are in memory now, or it is not worth trying again.
    private func fill(_ container: Container, _ buffer: UnsafeMutableRawBufferPointer) -> Bool {
        let size = container.pack.containerSize
        var start: UInt64 = 0
        while start < size {
            while isBusy() {
                if isStopped { return false }
                usleep(Self.pause)
            }
            // What is read would drive out what others read.
            if isStopped || MemoryInformation.availableBytes(context.files) < 2 * (size - start) {
                return false
            }
            let end = min(size, start + Self.stretchBytes)
            guard unsafe read(container, start..<end, buffer) else { return true }
            start = end
        }
        return true
    }

    /// False when the container went away or cannot be read.
    private func read(
        _ container: Container, _ range: Range<UInt64>, _ buffer: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard container.enter() else { return false }
        defer { container.leave() }
        guard let disk = container.disk, container.isComplete else { return false }
        var offset = range.lowerBound
        while offset < range.upperBound {
            guard let count = try? unsafe context.files.read(disk.data, into: buffer, at: offset), count > 0
            else { return false }
            offset += UInt64(count)
        }
        return true
    }
}

/// What the kernel tells of its memory (proc_meminfo(5)).
enum MemoryInformation {
    /// Memory that programs may take without others being swapped out; 0 when the kernel does not tell.
    static func availableBytes(_ files: any FileSystem) -> UInt64 {
        guard let text = try? readFile("/proc/meminfo", limit: 8192, files) else { return 0 }
        return available(String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
    }

    static func available(_ text: String) -> UInt64 {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, words[0] == "MemAvailable:", words[2] == "kB" else { continue }
            guard let kilobytes = UInt64(words[1]) else { return 0 }
            return kilobytes.multipliedReportingOverflow(by: 1024).partialValue
        }
        return 0
    }
}
