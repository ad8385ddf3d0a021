import Glibc
import Synchronization
import System

/// Spans for synchronous code. The thread's current span needs no parameter: it goes with the thread, and into fetches and
/// requests that carry it on. While tracing is off each of these is one relaxed load.
package enum Trace {
    private static let isOn = Atomic(false)
    private static let recorder = Monitor<SpanRecorder?>(nil)
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return unsafe pthread_key_create(&key, nil) == 0 ? key : nil
    }()

    /// Turns tracing on for the process, or off with nil. Spans that go on are still recorded where they began.
    package static func install(_ new: SpanRecorder?) {
        recorder.withLock { $0 = new }
        isOn.store(new != nil && key != nil, ordering: .releasing)
    }

    @inline(__always)
    package static var isEnabled: Bool { isOn.load(ordering: .relaxed) }

    /// Starts a trace here, or continues that of another process; nil while tracing is off.
    @inline(__always)
    package static func root(
        _ name: @autoclosure () -> String, _ kind: SpanKind = .internal, parent: SpanContext? = nil
    ) -> TraceSpan? {
        guard isEnabled else { return nil }
        return start(name(), kind, parent)
    }

    @inline(never)
    private static func start(_ name: String, _ kind: SpanKind, _ parent: SpanContext?) -> TraceSpan? {
        recorder.withLock { $0 }?.startRoot(name, kind, parent: parent)
    }

    /// The calling thread's span.
    @inline(__always)
    package static var current: TraceSpan? {
        guard isEnabled else { return nil }
        return stored
    }

    @inline(never)
    private static var stored: TraceSpan? {
        guard let key, let pointer = unsafe pthread_getspecific(key) else { return nil }
        return unsafe Unmanaged<TraceSpan>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Runs `body` with `span` as the thread's; nil hides that of the caller.
    @inline(__always)
    package static func with<Value, Failure: Error>(
        _ span: TraceSpan?, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard isEnabled else { return try body() }
        return try run(span, body)
    }

    @inline(never)
    private static func run<Value, Failure: Error>(
        _ span: TraceSpan?, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard let key else { return try body() }
        let outer = unsafe pthread_getspecific(key)
        unsafe pthread_setspecific(key, span.map { unsafe Unmanaged.passUnretained($0).toOpaque() })
        defer {
            unsafe pthread_setspecific(key, outer)
            withExtendedLifetime(span) {}
        }
        return try body()
    }

    /// Runs `body` as a span under the thread's; without one it just runs it. What `body` throws is told by the span.
    @inline(__always)
    package static func span<Value, Failure: Error>(
        _ name: @autoclosure () -> String, _ kind: SpanKind = .internal,
        _ body: (TraceSpan?) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard let parent = current else { return try body(nil) }
        return try run(parent.child(name(), kind), body)
    }

    @inline(never)
    private static func run<Value, Failure: Error>(
        _ span: TraceSpan, _ body: (TraceSpan?) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        do throws(Failure) {
            let value = try run(span) { () throws(Failure) in try body(span) }
            span.end()
            return value
        } catch {
            span.end(failed: error)
            throw error
        }
    }
}
