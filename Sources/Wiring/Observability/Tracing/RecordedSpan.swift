package import Instrumentation
import Telemetry
package import Tracing

/// A recorder's span as swift-distributed-tracing sees it.
package struct RecordedSpan: Tracing.Span {
    private let span: TraceSpan
    package let context: InstrumentationContext

    init(_ span: TraceSpan, _ context: InstrumentationContext) {
        self.span = span
        self.context = context
    }

    package var operationName: String {
        get { span.name }
        nonmutating set { span.name = newValue }
    }

    package var isRecording: Bool { span.isRecording }

    package func setStatus(_ status: SpanStatus) {
        switch status.code {
        case .ok: span.finish(as: .succeeded)
        case .error: span.finish(as: .failed(status.message ?? ""))
        }
    }

    package func addEvent(_ event: Tracing.SpanEvent) {
        span.add(event: event.name, Self.list(event.attributes), time: event.nanosecondsSinceEpoch)
    }

    package func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        // As OpenTelemetry's conventions name it.
        let described = [
            Telemetry.SpanAttribute("exception.type", .text("\(type(of: error))")),
            Telemetry.SpanAttribute("exception.message", .text("\(error)")),
        ]
        span.add(
            event: "exception", described + Self.list(attributes), time: instant().nanosecondsSinceEpoch)
    }

    package var attributes: SpanAttributes {
        get {
            var attributes = SpanAttributes([:])
            for attribute in span.attributes {
                attributes.set(attribute.key, value: Self.value(attribute.value))
            }
            return attributes
        }
        nonmutating set { for attribute in Self.list(newValue) { span.set(attribute.key, attribute.value) } }
    }

    package func addLink(_ link: SpanLink) {
        if let other = link.context.activeSpan?.context ?? link.context.remoteSpan { span.add(link: other) }
    }

    package func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        span.end(time: instant().nanosecondsSinceEpoch)
    }

    // MARK: Attributes

    private static func list(_ attributes: SpanAttributes) -> [Telemetry.SpanAttribute] {
        var list: [Telemetry.SpanAttribute] = []
        // swift-format-ignore: ReplaceForEachWithForLoop
        attributes.forEach { list.append(Telemetry.SpanAttribute($0, value($1))) }
        return list.sorted { $0.key < $1.key }
    }

    private static func value(_ attribute: Tracing.SpanAttribute) -> SpanValue {
        switch attribute {
        case .int32(let number): .integer(Int64(number))
        case .int64(let number): .integer(number)
        case .double(let number): .number(number)
        case .bool(let truth): .truth(truth)
        case .string(let text): .text(text)
        case .stringConvertible(let value): .text("\(value)")
        case .int32Array(let list): .text("\(list)")
        case .int64Array(let list): .text("\(list)")
        case .doubleArray(let list): .text("\(list)")
        case .boolArray(let list): .text("\(list)")
        case .stringArray(let list): .text("\(list)")
        case .stringConvertibleArray(let list): .text("\(list.map { "\($0)" })")
        default: .text("")
        }
    }

    private static func value(_ value: SpanValue) -> Tracing.SpanAttribute {
        switch value {
        case .text(let text): .string(text)
        case .integer(let number): .int64(number)
        case .number(let number): .double(number)
        case .truth(let truth): .bool(truth)
        }
    }
}
