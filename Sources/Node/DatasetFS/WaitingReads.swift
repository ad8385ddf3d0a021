import System
import Telemetry

/// Reads whose bytes are on their way, and what is counted of them.
final class WaitingReads: Sendable {
    private struct State {
        var next = 0
        /// Monotonic nanoseconds.
        var started: [Int: UInt64] = [:]
    }

    /// One of them.
    struct Read: Sendable {
        fileprivate let number: Int
        fileprivate let start: UInt64
        let span: TraceSpan?
    }

    private let clock: any Clock
    private let state = Monitor(State())
    private let durations = MetricsRegistry.process.histogram(MetricCatalogue.readDurationSeconds)
    private let bytes = MetricsRegistry.process.counter(MetricCatalogue.readBytes)
    private let failures = MetricsRegistry.process.counter(MetricCatalogue.readFailures)

    init(_ clock: any Clock) { self.clock = clock }

    var oldest: UInt64? { state.withLock { $0.started.values.min() } }

    /// The span is the thread's, or a new trace.
    func begin(dataset: String, bytes: Int) -> Read {
        let span = Trace.current ?? Trace.root("read", .server)
        span?.set("kaml.dataset", dataset)
        span?.set("kaml.bytes", bytes)
        let start = clock.monotonicNanoseconds()
        return state.withLock { state in
            state.next += 1
            state.started[state.next] = start
            return Read(number: state.next, start: start, span: span)
        }
    }

    /// Whether `begin` was called with this span as the thread's.
    static func hasBegun(_ span: TraceSpan) -> Bool { span.attributes.contains { $0.key == "kaml.dataset" } }

    /// To be called after the answer was given.
    func answered(_ read: Read, bytes count: Int) {
        let duration = finish(read)
        read.span?.end()
        durations.record(duration, .store, read.span)
        bytes.add(UInt64(count), .store)
    }

    func failed(_ read: Read, _ error: some Error, _ reason: ReadFailureLabel) {
        let duration = finish(read)
        read.span?.end(failed: error)
        durations.record(duration, .store, read.span)
        failures.add(1, reason)
    }

    private func finish(_ read: Read) -> UInt64 {
        state.withLock { _ = $0.started.removeValue(forKey: read.number) }
        return clock.monotonicNanoseconds() &- read.start
    }
}
