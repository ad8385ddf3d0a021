import Synchronization
import System
import Telemetry

/// Reads whose bytes are on their way, and what is counted of them.
final class WaitingReads: Sendable {
    private struct State {
        var next = 0
        var started: [Int: Read] = [:]
    }

    /// One of them.
    struct Read: Sendable {
        fileprivate let number: Int
        /// Monotonic nanoseconds.
        fileprivate let start: UInt64
        fileprivate let bytes: Int
        let span: TraceSpan?
    }

    private let dataset: String
    private let clock: any Clock
    private let state = Monitor(State())
    private let source = Atomic(0)
    private let durations = MetricsRegistry.process.histogram(MetricCatalogue.readDurationSeconds)
    private let bytes = MetricsRegistry.process.counter(MetricCatalogue.readBytes)
    private let failures = MetricsRegistry.process.counter(MetricCatalogue.readFailures)

    init(_ clock: any Clock, dataset: String) {
        self.clock = clock
        self.dataset = dataset
        let number = SlowReads.process.addSource { [weak self] in self?.underWay ?? [] }
        source.store(number, ordering: .relaxed)
    }

    deinit { SlowReads.process.removeSource(source.load(ordering: .relaxed)) }

    var oldest: UInt64? { state.withLock { $0.started.values.lazy.map(\.start).min() } }

    private var underWay: [SlowRead] {
        let now = clock.monotonicNanoseconds()
        let reads = state.withLock { Array($0.started.values) }
        return reads.map { read in
            SlowRead(
                dataset: dataset, bytes: read.bytes, duration: now &- min(read.start, now), ended: nil,
                trace: read.trace)
        }
    }

    /// The span is the thread's, or a new trace.
    func begin(bytes: Int) -> Read {
        let span = Trace.current ?? Trace.root("read", .server)
        span?.set("kaml.dataset", dataset)
        span?.set("kaml.bytes", bytes)
        let start = clock.monotonicNanoseconds()
        return state.withLock { state in
            state.next += 1
            let read = Read(number: state.next, start: start, bytes: bytes, span: span)
            state.started[state.next] = read
            return read
        }
    }

    /// Whether `begin` was called with this span as the thread's.
    static func hasBegun(_ span: TraceSpan) -> Bool { span.attributes.contains { $0.key == "kaml.dataset" } }

    /// To be called after the answer was given.
    func answered(_ read: Read, bytes count: Int) {
        let duration = finish(read)
        read.span?.end()
        remember(read, duration, hasFailed: false)
        durations.record(duration, .store, read.span)
        bytes.add(UInt64(count), .store)
    }

    func failed(_ read: Read, _ error: some Error, _ reason: ReadFailureLabel) {
        let duration = finish(read)
        read.span?.end(failed: error)
        remember(read, duration, hasFailed: true)
        durations.record(duration, .store, read.span)
        failures.add(1, reason)
    }

    private func remember(_ read: Read, _ duration: UInt64, hasFailed: Bool) {
        SlowReads.process.add(
            SlowRead(
                dataset: dataset, bytes: read.bytes, duration: duration, ended: clock.now(),
                hasFailed: hasFailed, trace: read.trace), duration: duration)
    }

    private func finish(_ read: Read) -> UInt64 {
        state.withLock { _ = $0.started.removeValue(forKey: read.number) }
        return clock.monotonicNanoseconds() &- read.start
    }
}

extension WaitingReads.Read {
    fileprivate var trace: TraceID? { span.flatMap { $0.isExported ? $0.context.traceID : nil } }
}
