import Synchronization
package import Telemetry

private let turn = Mutex(())

/// Runs `body` with the process's tracing on, or off with nil, for one test at a time. Tests that run beside it leave
/// spans of their own in the recorder: look at those of one trace.
package func withTracing<Value>(_ recorder: SpanRecorder?, _ body: () throws -> Value) rethrows -> Value {
    try turn.withLock { _ in
        Trace.install(recorder)
        defer { Trace.install(nil) }
        return try body()
    }
}

extension SpanRecorder {
    /// The finished spans of a trace; others are forgotten.
    package func take(_ trace: TraceID) -> [FinishedSpan] {
        take(after: 0).filter { $0.context.traceID == trace }
    }
}
