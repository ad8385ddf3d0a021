import Synchronization
package import System

/// A read that took long, or is still under way.
package struct SlowRead: Sendable, Hashable {
    package var dataset: String
    package var bytes: Int
    /// Nanoseconds so far.
    package var duration: UInt64
    /// When it ended; nil while it goes on.
    package var ended: Timestamp?
    package var hasFailed: Bool
    /// The trace that is exported of it.
    package var trace: TraceID?

    package init(
        dataset: String, bytes: Int, duration: UInt64, ended: Timestamp?, hasFailed: Bool = false,
        trace: TraceID? = nil
    ) {
        self.dataset = dataset
        self.bytes = bytes
        self.duration = duration
        self.ended = ended
        self.hasFailed = hasFailed
        self.trace = trace
    }
}

/// The slowest reads of the last minutes, for people who ask what is slow just now.
package final class SlowReads: Sendable {
    /// Of this process.
    package static let process = SlowReads()

    /// Reads that are remembered.
    package static let limit = 32
    /// How long one is remembered, in seconds.
    static let memory: Int64 = 300
    /// What is quicker is not looked at, in nanoseconds.
    static let least: UInt64 = 5_000_000

    package typealias Source = @Sendable () -> [SlowRead]

    private struct State {
        var list = SlowReadList()
        var sources: [Int: Source] = [:]
        var nextSource = 0
    }
    private let state = Monitor(State())
    private let clock: any Clock

    package init(clock: any Clock = HostClock()) { self.clock = clock }

    package func add(_ read: @autoclosure () -> SlowRead, duration: UInt64) {
        guard duration >= Self.least else { return }
        let read = read()
        let now = clock.now().seconds
        state.withLock { state in
            // Those of an incident long past do not keep this one out.
            state.list.forget(before: now - Self.memory)
            state.list.add(read)
        }
    }

    /// Has `source` asked for what is under way, until `removeSource`.
    package func addSource(_ source: @escaping Source) -> Int {
        state.withLock { state in
            state.nextSource += 1
            state.sources[state.nextSource] = source
            return state.nextSource
        }
    }

    package func removeSource(_ number: Int) {
        state.withLock { _ = $0.sources.removeValue(forKey: number) }
    }

    /// The slowest first, those under way among them; `limit` at most.
    package func slowest() -> [SlowRead] {
        let now = clock.now().seconds
        let (ended, sources) = state.withLock { state in
            state.list.forget(before: now - Self.memory)
            return (state.list.reads, Array(state.sources.values))
        }
        let all = ended + sources.flatMap { $0() }
        return Array(all.sorted { $0.duration > $1.duration }.prefix(Self.limit))
    }
}

/// Which reads are kept: the slowest.
struct SlowReadList {
    private(set) var reads: [SlowRead] = []

    mutating func add(_ read: SlowRead) {
        if reads.count < SlowReads.limit { return reads.append(read) }
        guard let least = reads.indices.min(by: { reads[$0].duration < reads[$1].duration }),
            reads[least].duration < read.duration
        else { return }
        reads[least] = read
    }

    mutating func forget(before seconds: Int64) {
        reads.removeAll { ($0.ended?.seconds ?? .max) < seconds }
    }
}
