/// The name of a trace: 128 bits, not all zero.
package struct TraceID: Hashable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    /// Nil for all zero, which is no trace.
    package init?(high: UInt64, low: UInt64) {
        guard high | low != 0 else { return nil }
        self.high = high
        self.low = low
    }

    /// 32 hexadecimal digits.
    package var description: String { Hexadecimal.text(high) + Hexadecimal.text(low) }

    /// Big-endian, as OTLP has them.
    package var bytes: [UInt8] { Hexadecimal.bytes(high) + Hexadecimal.bytes(low) }
}

/// The name of a span in its trace: 64 bits, not all zero.
package struct SpanID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    /// Nil for zero, which is no span.
    package init?(rawValue: UInt64) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    /// 16 hexadecimal digits.
    package var description: String { Hexadecimal.text(rawValue) }

    /// Big-endian, as OTLP has them.
    package var bytes: [UInt8] { Hexadecimal.bytes(rawValue) }
}

/// What of a span travels to other processes.
package struct SpanContext: Hashable, Sendable {
    package var traceID: TraceID
    package var spanID: SpanID
    /// Whether whoever made the trace exports it.
    package var isSampled: Bool

    package init(traceID: TraceID, spanID: SpanID, isSampled: Bool) {
        self.traceID = traceID
        self.spanID = spanID
        self.isSampled = isSampled
    }

    /// A `traceparent` field (W3C Trace Context): nil unless it is right to the letter. Fields of later versions are read
    /// by their beginning, as the specification wants it.
    package init?(traceparent text: some StringProtocol) {
        let bytes = Array(text.utf8.prefix(513))
        guard bytes.count >= 55, bytes.count <= 512, bytes[2] == UInt8(ascii: "-"),
            bytes[35] == UInt8(ascii: "-"), bytes[52] == UInt8(ascii: "-"),
            let version = Hexadecimal.number(bytes[0..<2]), version != 0xFF,
            version == 0 ? bytes.count == 55 : bytes.count == 55 || bytes[55] == UInt8(ascii: "-"),
            let high = Hexadecimal.number(bytes[3..<19]), let low = Hexadecimal.number(bytes[19..<35]),
            let span = Hexadecimal.number(bytes[36..<52]), let flags = Hexadecimal.number(bytes[53..<55]),
            let traceID = TraceID(high: high, low: low), let spanID = SpanID(rawValue: span)
        else { return nil }
        self.init(traceID: traceID, spanID: spanID, isSampled: flags & 1 == 1)
    }

    package var traceparent: String { "00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")" }
}

private enum Hexadecimal {
    private static let digits = Array("0123456789abcdef".utf8)

    static func text(_ number: UInt64) -> String {
        unsafe String(unsafeUninitializedCapacity: 16) { buffer in
            for place in 0..<16 {
                unsafe buffer[place] = digits[Int(number >> UInt64(60 - 4 * place) & 15)]
            }
            return 16
        }
    }

    static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) }
    }

    /// Lower case only; at most 16 digits.
    static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }
}
