import FoundationEssentials
import KamlProtos
import SwiftProtobuf
import Telemetry

/// Spans as OTLP's protobuf.
enum SpanMessages {
    /// One request, serialized; nil only where SwiftProtobuf refuses, as it does above 2 GiB.
    static func request(_ spans: [FinishedSpan], from resource: [SpanAttribute]) -> [UInt8]? {
        var message = Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceRequest()
        var resourceSpans = Opentelemetry_Proto_Trace_V1_ResourceSpans()
        resourceSpans.resource.attributes = resource.map(keyValue)
        var scopeSpans = Opentelemetry_Proto_Trace_V1_ScopeSpans()
        scopeSpans.scope.name = "kaml"
        scopeSpans.spans = spans.map(self.span)
        resourceSpans.scopeSpans = [scopeSpans]
        message.resourceSpans = [resourceSpans]
        return try? message.serializedBytes()
    }

    /// How many spans a collector that answered "taken" left out all the same; nil for an answer that is none.
    static func rejected(_ answer: [UInt8]) -> UInt64? {
        typealias Answer = Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceResponse
        guard let message = try? Answer(serializedBytes: answer) else { return nil }
        return UInt64(clamping: message.partialSuccess.rejectedSpans)
    }

    private static func span(_ span: FinishedSpan) -> Opentelemetry_Proto_Trace_V1_Span {
        var message = Opentelemetry_Proto_Trace_V1_Span()
        message.traceID = Data(span.context.traceID.bytes)
        message.spanID = Data(span.context.spanID.bytes)
        if let parent = span.parent { message.parentSpanID = Data(parent.bytes) }
        message.name = span.name
        message.kind = .init(rawValue: Int(span.kind.rawValue)) ?? .internal
        message.startTimeUnixNano = span.start
        message.endTimeUnixNano = span.end
        message.attributes = span.attributes.map(keyValue)
        message.droppedAttributesCount = span.droppedAttributes
        message.events = span.events.map { event in
            var message = Opentelemetry_Proto_Trace_V1_Span.Event()
            message.timeUnixNano = event.time
            message.name = event.name
            message.attributes = event.attributes.map(keyValue)
            return message
        }
        message.droppedEventsCount = span.droppedEvents
        message.links = span.links.map { link in
            var message = Opentelemetry_Proto_Trace_V1_Span.Link()
            message.traceID = Data(link.traceID.bytes)
            message.spanID = Data(link.spanID.bytes)
            return message
        }
        message.droppedLinksCount = span.droppedLinks
        switch span.outcome {
        case .unset: break
        case .succeeded: message.status.code = .ok
        case .failed(let text):
            message.status.code = .error
            message.status.message = text
        }
        return message
    }

    private static func keyValue(_ attribute: SpanAttribute) -> Opentelemetry_Proto_Common_V1_KeyValue {
        var message = Opentelemetry_Proto_Common_V1_KeyValue()
        message.key = attribute.key
        switch attribute.value {
        case .text(let text): message.value.stringValue = text
        case .integer(let number): message.value.intValue = number
        case .number(let number): message.value.doubleValue = number
        case .truth(let truth): message.value.boolValue = truth
        }
        return message
    }
}
