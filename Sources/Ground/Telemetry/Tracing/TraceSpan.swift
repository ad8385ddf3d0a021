import Synchronization

/// A span that goes on: a piece of work with a start and an end, in the trace of what caused it. May be handed from thread
/// to thread. One that is dropped without an end is never exported.
package final class TraceSpan: Sendable {
    package let context: SpanContext
    package let kind: SpanKind
    let recorder: SpanRecorder
    let local: LocalTrace
    private let parent: SpanID?
    private let isLocalRoot: Bool
    /// Nanoseconds since 1970, and on the clock that never runs back.
    private let start: UInt64
    private let startTick: UInt64

    private struct State: ~Copyable {
        var name: String
        var outcome = SpanOutcome.unset
        var attributes: [SpanAttribute] = []
        var events: [SpanEvent] = []
        var links: [SpanContext] = []
        var droppedAttributes: UInt32 = 0
        var droppedEvents: UInt32 = 0
        var droppedLinks: UInt32 = 0
        var spent: [String: UInt64] = [:]
        var hasEnded = false
    }
    private let state: Mutex<State>

    init(
        _ recorder: SpanRecorder, _ local: LocalTrace, _ name: String, _ kind: SpanKind,
        _ context: SpanContext,
        parent: SpanID?, isLocalRoot: Bool, start: UInt64, startTick: UInt64
    ) {
        self.recorder = recorder
        self.local = local
        self.context = context
        self.kind = kind
        self.parent = parent
        self.isLocalRoot = isLocalRoot
        self.start = start
        self.startTick = startTick
        state = Mutex(State(name: SpanLimits.bounded(name)))
    }

    package var name: String {
        get { state.withLock { $0.name } }
        set { state.withLock { $0.name = SpanLimits.bounded(newValue) } }
    }

    package var isRecording: Bool { state.withLock { !$0.hasEnded } }

    package var attributes: [SpanAttribute] { state.withLock { $0.attributes } }

    package func set(_ key: String, _ value: SpanValue) {
        state.withLock { state in
            let attribute = SpanAttribute(key, SpanLimits.bounded(value))
            if let known = state.attributes.firstIndex(where: { $0.key == key }) {
                state.attributes[known] = attribute
            } else if state.attributes.count < SpanLimits.attributes {
                state.attributes.append(attribute)
            } else {
                state.droppedAttributes += 1
            }
        }
    }

    package func set(_ key: String, _ value: String) { set(key, .text(value)) }

    package func set(_ key: String, _ value: some BinaryInteger) {
        set(key, .integer(Int64(clamping: value)))
    }

    package func set(_ key: String, _ value: Bool) { set(key, .truth(value)) }

    package func add(event name: String, _ attributes: [SpanAttribute] = [], time: UInt64? = nil) {
        let event = SpanEvent(
            SpanLimits.bounded(name), time: time ?? recorder.now(),
            attributes: attributes.prefix(SpanLimits.attributes).map {
                SpanAttribute($0.key, SpanLimits.bounded($0.value))
            })
        state.withLock { state in
            if state.events.count < SpanLimits.events {
                state.events.append(event)
            } else {
                state.droppedEvents += 1
            }
        }
    }

    /// Another span that this one has to do with, such as a second reader of the same fetch.
    package func add(link: SpanContext) {
        state.withLock { state in
            if state.links.count < SpanLimits.links {
                state.links.append(link)
            } else {
                state.droppedLinks += 1
            }
        }
    }

    /// Whether its trace is exported, as far as is known.
    package var isExported: Bool { local.isKept }

    /// Notes time that a part of the work took which is done bit by bit, such as the writes of a stream.
    package func spend(_ nanoseconds: UInt64, on part: String) {
        state.withLock { $0.spent[part, default: 0] &+= nanoseconds }
    }

    package func spent(on part: String) -> UInt64 { state.withLock { $0.spent[part] ?? 0 } }

    /// A part that was done bit by bit, as a child of its length in all, which ends now.
    package func addPart(_ name: String, nanoseconds: UInt64) {
        let now = recorder.now()
        let part = recorder.startChild(name, of: self, start: max(start, now &- min(nanoseconds, now)))
        part.set("kaml.interleaved", true)
        part.end(time: now)
    }

    /// The last word stands. `failed` without a text keeps one that was said before.
    package func finish(as outcome: SpanOutcome) {
        state.withLock { state in
            if case .failed(let text) = outcome {
                state.outcome = .failed(SpanLimits.bounded(text))
            } else {
                state.outcome = outcome
            }
        }
    }

    /// Ends it; once, later calls do nothing. `time` is in nanoseconds since 1970, nil for now.
    package func end(time: UInt64? = nil) {
        let duration = recorder.tick() &- startTick
        let finished = state.withLock { state -> FinishedSpan? in
            if state.hasEnded { return nil }
            state.hasEnded = true
            return FinishedSpan(
                name: state.name, kind: kind, context: context, parent: parent, start: start,
                end: max(time ?? start &+ duration, start), outcome: state.outcome,
                attributes: state.attributes, events: state.events, links: state.links,
                droppedAttributes: state.droppedAttributes, droppedEvents: state.droppedEvents,
                droppedLinks: state.droppedLinks)
        }
        guard let finished else { return }
        recorder.queue(local.finish(finished, isRoot: isLocalRoot, slow: recorder.slowNanoseconds))
    }

    package func end(failed error: some Error) {
        finish(as: .failed("\(error)"))
        end()
    }

    /// A span of work that this one causes.
    package func child(_ name: String, _ kind: SpanKind = .internal) -> TraceSpan {
        recorder.startChild(name, kind, of: self)
    }
}

/// The spans of one trace in this process. Those of a trace that nobody samples wait here until its root ends: only then
/// it is known whether it was slow, or failed, and is worth exporting.
final class LocalTrace: Sendable {
    /// Spans that wait; further ones are left out.
    static let limit = 64

    private enum Decision { case open, keep, drop }
    private struct State: ~Copyable {
        var decision: Decision
        var waiting: [FinishedSpan] = []
    }
    private let state: Mutex<State>

    init(isSampled: Bool) { state = Mutex(State(decision: isSampled ? .keep : .open)) }

    /// Whether it is exported, as far as is known.
    var isKept: Bool { state.withLock { $0.decision == .keep } }

    /// What is to be exported now.
    func finish(_ span: FinishedSpan, isRoot: Bool, slow: UInt64) -> [FinishedSpan] {
        state.withLock { state in
            switch state.decision {
            case .keep: return [span]
            case .drop: return []
            case .open: break
            }
            guard isRoot else {
                if state.waiting.count < Self.limit { state.waiting.append(span) }
                return []
            }
            var hasFailed = false
            if case .failed = span.outcome { hasFailed = true }
            guard hasFailed || span.end - span.start >= slow else {
                state.decision = .drop
                state.waiting = []
                return []
            }
            state.decision = .keep
            defer { state.waiting = [] }
            return state.waiting + [span]
        }
    }
}
