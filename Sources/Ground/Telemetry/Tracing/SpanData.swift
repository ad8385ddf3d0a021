/// What an attribute of a span can be.
package enum SpanValue: Hashable, Sendable {
    case text(String)
    case integer(Int64)
    case number(Double)
    case truth(Bool)
}

package struct SpanAttribute: Hashable, Sendable {
    package var key: String
    package var value: SpanValue

    package init(_ key: String, _ value: SpanValue) {
        self.key = key
        self.value = value
    }
}

/// Numbers as OTLP has them.
package enum SpanKind: Int32, Hashable, Sendable {
    case `internal` = 1
    case server = 2
    case client = 3
    case producer = 4
    case consumer = 5
}

package enum SpanOutcome: Hashable, Sendable {
    case unset
    case succeeded
    /// With what went wrong, for people; never a secret.
    case failed(String)
}

package struct SpanEvent: Hashable, Sendable {
    package var name: String
    /// Nanoseconds since 1970.
    package var time: UInt64
    package var attributes: [SpanAttribute]

    package init(_ name: String, time: UInt64, attributes: [SpanAttribute] = []) {
        self.name = name
        self.time = time
        self.attributes = attributes
    }
}

/// A span that has ended, as it is exported.
package struct FinishedSpan: Sendable {
    package var name: String
    package var kind: SpanKind
    package var context: SpanContext
    package var parent: SpanID?
    /// Nanoseconds since 1970.
    package var start: UInt64
    package var end: UInt64
    package var outcome: SpanOutcome
    package var attributes: [SpanAttribute]
    package var events: [SpanEvent]
    package var links: [SpanContext]
    /// What did not fit into the limits.
    package var droppedAttributes: UInt32
    package var droppedEvents: UInt32
    package var droppedLinks: UInt32

    /// About the memory it takes, in bytes.
    var weight: Int {
        func weight(_ attributes: [SpanAttribute]) -> Int {
            attributes.reduce(0) { sum, attribute in
                guard case .text(let text) = attribute.value else { return sum + 64 }
                return sum + 64 + text.utf8.count
            }
        }
        return 256 + weight(attributes) + events.reduce(0) { $0 + 96 + weight($1.attributes) }
            + links.count * 32
    }
}

/// Bounds on one span, whatever is put into it.
enum SpanLimits {
    static let attributes = 32
    static let events = 16
    static let links = 16
    /// UTF-8 bytes.
    static let text = 512

    static func bounded(_ value: SpanValue) -> SpanValue {
        guard case .text(let text) = value else { return value }
        return .text(bounded(text))
    }

    static func bounded(_ text: String) -> String {
        guard text.utf8.count > Self.text else { return text }
        return String(text.unicodeScalars.prefix(Self.text / 4))
    }
}
