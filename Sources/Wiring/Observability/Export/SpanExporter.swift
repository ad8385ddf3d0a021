package import System
package import Telemetry

/// Brings finished spans to a collector, on a thread of its own. Whatever the collector does, recording goes on as it did:
/// spans that it does not take in time are dropped by the recorder's queue, and counted.
package final class SpanExporter: Sendable {
    /// Spans of one request.
    static let batch = 512

    package struct Options: Sendable {
        /// Nanoseconds that spans wait for others.
        package var interval: UInt64 = 5_000_000_000
        /// Nanoseconds that `stop` leaves for the last spans.
        package var farewell: UInt64 = 3_000_000_000

        package init() {}
    }

    private struct State {
        var isStopping = false
        var hasEnded = false
    }

    private let recorder: SpanRecorder
    private let transport: any SpanTransport
    private let resource: [SpanAttribute]
    private let options: Options
    private let random: any RandomSource
    private let notice: @Sendable (String) -> Void
    private let state = Monitor(State())
    private let pause = Parker()

    private let exported: Counter<NoLabels>
    private let dropped: Counter<SpanDropLabel>
    private let outcomes: Counter<ExportOutcomeLabel>

    /// What becomes of spans is counted in `registry`. `notice` is told when a collector's trouble begins, and when it ends.
    package init(
        _ recorder: SpanRecorder, _ transport: any SpanTransport, resource: [SpanAttribute],
        registry: MetricsRegistry, options: Options = Options(), random: any RandomSource = HostRandom(),
        notice: @escaping @Sendable (String) -> Void
    ) {
        self.recorder = recorder
        self.transport = transport
        self.resource = resource
        self.options = options
        self.random = random
        self.notice = notice
        exported = registry.counter(MetricCatalogue.traceSpansExported)
        dropped = registry.counter(MetricCatalogue.traceSpansDropped)
        outcomes = registry.counter(MetricCatalogue.traceExports)
        registry.collect { collection in
            let counts = recorder.counts
            collection.add(MetricCatalogue.traceSpans, counts.queued)
            collection.add(MetricCatalogue.traceQueuedSpans, recorder.waiting)
            collection.add(MetricCatalogue.traceSpansDropped, .queueFull, counts.dropped)
        }
    }

    package func start() throws(Errno) {
        try Thread(name: "kaml-spans") { self.run() }.detach()
    }

    /// Sends what is left, and ends the thread; returns when it has ended, after the farewell at the latest.
    package func stop() {
        state.withLock { $0.isStopping = true }
        pause.unpark()
        recorder.hurry()
        // A collector that hangs is left to itself.
        let farewell = options.farewell
        let watchdog = Parker()
        do throws(Errno) {
            try Thread(name: "kaml-farewell") { [transport] in
                if !watchdog.park(nanoseconds: farewell) { transport.cancel() }
            }.detach()
        } catch { transport.cancel() }
        state.wait { $0.hasEnded ? () : nil }
        watchdog.unpark()
    }

    // MARK: The thread

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func run() {
        var pace = ExportPace()
        var isInTrouble = false
        while true {
            let last = isStopping
            let spans = recorder.take(after: last ? 0 : options.interval)
            var rest = spans[...]
            while !rest.isEmpty {
                let part = Array(rest.prefix(Self.batch))
                rest = rest.dropFirst(Self.batch)
                let trouble = deliver(part, &pace)
                if let trouble, !isInTrouble {
                    notice("spans are dropped: the collector does not take them (\(trouble.why))")
                } else if trouble == nil, isInTrouble {
                    notice("the collector takes spans again")
                }
                isInTrouble = trouble != nil
                if let trouble, trouble.pause > 0, !isStopping {
                    _ = pause.park(nanoseconds: trouble.pause)
                }
            }
            if last { break }
        }
        state.withLock { $0.hasEnded = true }
        state.wake()
    }

    private struct Trouble {
        var why: String
        /// How long the next batch has to wait.
        var pause: UInt64 = 0
    }

    /// Why the batch was dropped; nil when it was taken.
    private func deliver(_ spans: [FinishedSpan], _ pace: inout ExportPace) -> Trouble? {
        guard let request = SpanMessages.request(spans, from: resource) else {
            dropped.add(UInt64(spans.count), .tooLarge)
            return Trouble(why: "too large")
        }
        pace.begin()
        while true {
            switch transport.send(request) {
            case .taken(let rejected):
                pace.succeeded()
                let left = min(rejected, UInt64(spans.count))
                outcomes.add(1, left == 0 ? .success : .partial)
                dropped.add(left, .refused)
                exported.add(UInt64(spans.count) - left)
                return nil
            case .refused(let why):
                outcomes.add(1, .refused)
                dropped.add(UInt64(spans.count), .refused)
                return Trouble(why: why)
            case .tooLarge:
                outcomes.add(1, .refused)
                dropped.add(UInt64(spans.count), .tooLarge)
                return Trouble(why: "status 413")
            case .later(let after, let why):
                outcomes.add(1, .failed)
                let next = pace.failed(askedFor: after, random: randomWord())
                if case .retry(let delay) = next, !isStopping {
                    _ = pause.park(nanoseconds: delay)
                    if !isStopping { continue }
                }
                dropped.add(UInt64(spans.count), .unreachable)
                var trouble = Trouble(why: why)
                if case .giveUp(let delay) = next { trouble.pause = delay }
                return trouble
            }
        }
    }

    private func randomWord() -> UInt64 { random.bytes(8).reduce(0) { $0 << 8 | UInt64($1) } }
}
