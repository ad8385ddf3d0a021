import Synchronization
package import System

/// Makes spans, and queues those that are to be exported. Nothing here waits: a full queue drops and counts.
package final class SpanRecorder: Sendable {
    /// Spans, and bytes of them, that wait for export at the most.
    package static let queueLimit = 2048
    static let queueBytes = 4 << 20

    package struct Counts: Hashable, Sendable {
        package var queued: UInt64 = 0
        package var dropped: UInt64 = 0
    }

    private struct State: ~Copyable {
        var waiting: [FinishedSpan] = []
        var weight = 0
        var counts = Counts()
    }

    private let slow: Atomic<UInt64>
    private let ratio: Atomic<UInt64>
    private let followsParent: Bool
    private let clock: any Clock
    private let state = Monitor(State())
    private let parker = Parker()
    /// The names of traces and spans: a counter from a random start, mixed.
    private let seed: UInt64
    private let nextID: Atomic<UInt64>

    package init(
        _ sampler: Sampler, slowNanoseconds: UInt64 = 1_000_000_000, clock: any Clock = HostClock(),
        random: any RandomSource = HostRandom()
    ) {
        slow = Atomic(slowNanoseconds)
        ratio = Atomic(sampler.ratio.bitPattern)
        followsParent = sampler.followsParent
        self.clock = clock
        let bytes = random.bytes(16)
        seed = bytes[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
        nextID = Atomic(bytes[8..<16].reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// From this on a read is exported although nobody sampled it, in nanoseconds. May be changed at any time.
    package var slowNanoseconds: UInt64 {
        get { slow.load(ordering: .relaxed) }
        set { slow.store(newValue, ordering: .relaxed) }
    }

    /// The share of new traces, 0...1; what is no number counts as 0. May be changed at any time.
    package var sampledRatio: Double {
        get { Double(bitPattern: ratio.load(ordering: .relaxed)) }
        set { ratio.store(Sampler(ratio: newValue).ratio.bitPattern, ordering: .relaxed) }
    }

    // MARK: Spans

    /// Starts a trace, or continues one that another process started. `start`: nanoseconds since 1970, nil for now.
    package func startRoot(
        _ name: String, _ kind: SpanKind = .internal, parent: SpanContext? = nil, start: UInt64? = nil
    ) -> TraceSpan {
        let trace = parent?.traceID ?? newTraceID()
        let sampler = Sampler(ratio: sampledRatio, followsParent: followsParent)
        let isSampled = sampler.samples(trace, parent: parent)
        let context = SpanContext(traceID: trace, spanID: newSpanID(), isSampled: isSampled)
        return TraceSpan(
            self, LocalTrace(isSampled: isSampled), name, kind, context, parent: parent?.spanID,
            isLocalRoot: true, start: start ?? now(), startTick: tick())
    }

    /// Starts a span of work that `parent` causes.
    package func startChild(
        _ name: String, _ kind: SpanKind = .internal, of parent: TraceSpan, start: UInt64? = nil
    ) -> TraceSpan {
        let context = SpanContext(
            traceID: parent.context.traceID, spanID: newSpanID(), isSampled: parent.context.isSampled)
        return TraceSpan(
            self, parent.local, name, kind, context, parent: parent.context.spanID, isLocalRoot: false,
            start: start ?? now(), startTick: tick())
    }

    private func newTraceID() -> TraceID {
        while true {
            if let id = TraceID(high: newWord(), low: newWord()) { return id }
        }
    }

    private func newSpanID() -> SpanID {
        while true {
            if let id = SpanID(rawValue: newWord()) { return id }
        }
    }

    /// SplitMix64: no word comes twice in 2^64, and no system call is needed.
    private func newWord() -> UInt64 {
        var word = nextID.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue ^ seed
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// Nanoseconds since 1970.
    package func now() -> UInt64 {
        let time = clock.now()
        return UInt64(clamping: time.seconds) &* 1_000_000_000 &+ UInt64(time.nanoseconds)
    }

    func tick() -> UInt64 { clock.monotonicNanoseconds() }

    // MARK: The queue

    package var counts: Counts { state.withLock { $0.counts } }

    /// Spans that wait.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    func queue(_ spans: [FinishedSpan]) {
        if spans.isEmpty { return }
        let isHalfFull = state.withLock { state in
            for span in spans {
                let weight = span.weight
                guard state.waiting.count < Self.queueLimit, state.weight + weight <= Self.queueBytes else {
                    state.counts.dropped &+= 1
                    continue
                }
                state.waiting.append(span)
                state.weight += weight
                state.counts.queued &+= 1
            }
            return state.waiting.count >= Self.queueLimit / 2 || state.weight >= Self.queueBytes / 2
        }
        if isHalfFull { parker.unpark() }
    }

    /// For the one thread that exports: everything that waits, after `nanoseconds`, or earlier when the queue is half full
    /// or `hurry` is called.
    package func take(after nanoseconds: UInt64) -> [FinishedSpan] {
        if nanoseconds > 0 { parker.park(nanoseconds: nanoseconds) }
        return state.withLock { state in
            defer {
                state.waiting = []
                state.weight = 0
            }
            return state.waiting
        }
    }

    package func hurry() { parker.unpark() }
}
