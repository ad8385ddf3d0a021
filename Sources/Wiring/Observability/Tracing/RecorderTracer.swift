package import Instrumentation
package import Telemetry
package import Tracing

/// swift-distributed-tracing over the recorder: spans of asynchronous code and of the dataplane's threads are of one
/// trace. Contexts travel as W3C Trace Context.
package struct RecorderTracer: Tracer {
    package typealias Span = RecordedSpan

    private let recorder: SpanRecorder

    package init(_ recorder: SpanRecorder) { self.recorder = recorder }

    package func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext,
        ofKind kind: Tracing.SpanKind, at instant: @autoclosure () -> Instant, function: String,
        file fileID: String, line: UInt
    ) -> RecordedSpan {
        var context = context()
        let span: TraceSpan
        if let parent = context.activeSpan ?? Trace.current {
            span = recorder.startChild(
                operationName, Self.kind(kind), of: parent, start: instant().nanosecondsSinceEpoch)
        } else {
            span = recorder.startRoot(
                operationName, Self.kind(kind), parent: context.remoteSpan,
                start: instant().nanosecondsSinceEpoch)
        }
        context.activeSpan = span
        return RecordedSpan(span, context)
    }

    package func activeSpan(identifiedBy context: InstrumentationContext) -> RecordedSpan? {
        context.activeSpan.map { RecordedSpan($0, context) }
    }

    @available(*, deprecated)
    package func forceFlush() { recorder.hurry() }

    package func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let field = extractor.extract(key: "traceparent", from: carrier) else { return }
        context.remoteSpan = Telemetry.SpanContext(traceparent: field)
    }

    package func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let span = context.activeSpan?.context ?? context.remoteSpan else { return }
        injector.inject(span.traceparent, forKey: "traceparent", into: &carrier)
    }

    private static func kind(_ kind: Tracing.SpanKind) -> Telemetry.SpanKind {
        switch kind {
        case .server: .server
        case .client: .client
        case .producer: .producer
        case .consumer: .consumer
        case .internal: .internal
        }
    }
}

extension InstrumentationContext {
    private enum ActiveSpan: InstrumentationContextKey { typealias Value = TraceSpan }
    private enum RemoteSpan: InstrumentationContextKey { typealias Value = Telemetry.SpanContext }

    /// The span of this process that work in this context belongs to.
    package var activeSpan: TraceSpan? {
        get { self[ActiveSpan.self] }
        set { self[ActiveSpan.self] = newValue }
    }

    /// The caller's, as it came over the network.
    package var remoteSpan: Telemetry.SpanContext? {
        get { self[RemoteSpan.self] }
        set { self[RemoteSpan.self] = newValue }
    }
}
