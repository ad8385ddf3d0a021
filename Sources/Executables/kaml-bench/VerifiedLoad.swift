import ArgumentParser
import Glibc
import Synchronization
import System

/// Readers that compare what a mount gives with what it was made of, for runs in which the mount's server is killed.
///
/// Pages are given back after each read, so that the next one asks the server again. What is still waiting ten seconds
/// after the end is counted as hung, and left behind.
struct VerifiedLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verifyload", abstract: "Read a mount beside its source, and compare.")

    @Option(help: "The mounted snapshot.") var mount: String
    @Option(help: "The directory that it was committed from, unchanged.") var source: String
    @Option(help: "Threads that read through files which stay open.") var readers = 8
    @Option(help: "Threads that read through mappings.") var mappers = 2
    @Option(help: "Threads that walk the tree, and open and read the files that they meet.") var walkers = 1
    @Option(
        help: "How long; SIGTERM ends it earlier, and SIGUSR1 asks for the longest wait since it last asked.")
    var seconds: Double = 10

    func run() throws {
        let pairs = try FilePair.list(mount: ByteString(mount), source: ByteString(source))
        guard !pairs.isEmpty else { throw ValidationError("no files under \(source)") }
        Self.takeSignals()
        let outcome = LoadOutcome()
        var count = 0
        func start(_ number: Int, _ body: @escaping @Sendable (UInt64) -> Void) throws {
            for _ in 0..<number {
                let seed = UInt64(count) &+ 1
                count += 1
                try Thread(name: "load-\(seed)") {
                    body(seed)
                    outcome.ended.add(1, ordering: .relaxed)
                }.detach()
            }
        }
        try start(readers) { FileReaderLoad(pairs, seed: $0).run(outcome) }
        try start(mappers) { MappedReaderLoad(pairs, seed: $0).run(outcome) }
        let root = ByteString(mount)
        try start(walkers) { _ in WalkerLoad(root: root, expected: pairs).run(outcome) }

        let deadline = HostClock().monotonicNanoseconds() + UInt64(seconds * 1e9)
        while HostClock().monotonicNanoseconds() < deadline, !outcome.isOver {
            usleep(5_000)
            if Self.wasAsked.exchange(false, ordering: .relaxed) {
                print(outcome.sliceJSON())
                fflush(nil)
            }
        }
        outcome.end()
        for _ in 0..<500 where outcome.ended.load(ordering: .relaxed) < count { usleep(20_000) }
        print(outcome.json(hung: count - outcome.ended.load(ordering: .relaxed)))
        // Threads that hang in the kernel must not keep the answer back.
        fflush(nil)
        _exit(outcome.isClean && outcome.ended.load(ordering: .relaxed) == count ? 0 : 1)
    }

    private static let isTerminated = Atomic<Bool>(false)
    private static let wasAsked = Atomic<Bool>(false)

    private static func takeSignals() {
        signal(SIGTERM) { _ in VerifiedLoad.isTerminated.store(true, ordering: .relaxed) }
        signal(SIGUSR1) { _ in VerifiedLoad.wasAsked.store(true, ordering: .relaxed) }
    }

    static var wasTerminated: Bool { isTerminated.load(ordering: .relaxed) }
}

/// A file of the mount, and the one that it shows.
struct FilePair: Sendable {
    let mounted: ByteString
    let source: ByteString
    let size: Int

    static func list(mount: ByteString, source: ByteString) throws -> [FilePair] {
        let host = HostFileSystem()
        var pending = [(mount, source)]
        var pairs: [FilePair] = []
        while let (mounted, original) = pending.popLast() {
            for entry in try host.list(original) {
                let path = original.appending(entry.name)
                let status = try host.status(of: path)
                let twin = mounted.appending(entry.name)
                switch status.kind {
                case .directory: pending.append((twin, path))
                case .regular where status.size > 0:
                    pairs.append(FilePair(mounted: twin, source: path, size: Int(status.size)))
                default: break
                }
            }
        }
        return pairs
    }
}

/// What all threads saw together.
final class LoadOutcome: Sendable {
    let ended = Atomic<Int>(0)
    private let over = Atomic<Bool>(false)
    private let reads = Atomic<Int>(0)
    private let wrong = Atomic<Int>(0)
    private let errors = Atomic<Int>(0)
    private let firstError = Atomic<Int32>(0)
    /// Waits by their length: 64 steps of a quarter of a doubling each, from 16 us on.
    private let waits = Mutex([Int](repeating: 0, count: 96))
    private let longest = Atomic<UInt64>(0)
    private let longestInSlice = Atomic<UInt64>(0)

    var isOver: Bool { over.load(ordering: .relaxed) || VerifiedLoad.wasTerminated }
    func end() { over.store(true, ordering: .relaxed) }
    var isClean: Bool { wrong.load(ordering: .relaxed) == 0 && errors.load(ordering: .relaxed) == 0 }

    func read(nanoseconds: UInt64, isRight: Bool) {
        reads.add(1, ordering: .relaxed)
        if !isRight { wrong.add(1, ordering: .relaxed) }
        longest.max(nanoseconds, ordering: .relaxed)
        longestInSlice.max(nanoseconds, ordering: .relaxed)
        waits.withLock { $0[Self.step(nanoseconds)] += 1 }
    }

    /// A tree that lacks files, or has others, is wrong too.
    func walked(isComplete: Bool) {
        if !isComplete { wrong.add(1, ordering: .relaxed) }
    }

    func failed(_ error: Int32) {
        errors.add(1, ordering: .relaxed)
        _ = firstError.compareExchange(expected: 0, desired: error, ordering: .relaxed)
    }

    private static func step(_ nanoseconds: UInt64) -> Int {
        let units = Double(nanoseconds) / 16_000
        return units <= 1 ? 0 : min(95, Int(log2(units) * 4) + 1)
    }

    /// The upper end of the step in which a share of all waits has ended, in milliseconds.
    private func quantile(_ share: Double) -> Double {
        let counts = waits.withLock { $0 }
        let wanted = Int((Double(counts.reduce(0, +)) * share).rounded(.up))
        var sum = 0
        for (step, count) in counts.enumerated() {
            sum += count
            if sum >= wanted { return 0.016 * pow(2, Double(step) / 4) }
        }
        return 0
    }

    /// Since the last one was asked for.
    func sliceJSON() -> String {
        let slowest = Double(longestInSlice.exchange(0, ordering: .relaxed)) / 1e6
        return
            #"{"longest_ms": \#(slowest), "reads": \#(reads.load(ordering: .relaxed)), "#
            + #""errors": \#(errors.load(ordering: .relaxed)), "wrong": \#(wrong.load(ordering: .relaxed))}"#
    }

    func json(hung: Int) -> String {
        let slowest = Double(longest.load(ordering: .relaxed)) / 1e6
        return
            #"{"reads": \#(reads.load(ordering: .relaxed)), "errors": \#(errors.load(ordering: .relaxed)), "#
            + #""errno": \#(firstError.load(ordering: .relaxed)), "wrong": \#(wrong.load(ordering: .relaxed)), "#
            + #""hung": \#(hung), "p50_ms": \#(quantile(0.5)), "p99_ms": \#(quantile(0.99)), "#
            + #""p999_ms": \#(quantile(0.999)), "max_ms": \#(slowest)}"#
    }
}
