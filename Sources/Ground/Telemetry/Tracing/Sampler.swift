/// Which traces are exported from their start. Those it leaves out are exported all the same when they turn out slow or
/// failed (`SpanRecorder`).
package struct Sampler: Hashable, Sendable {
    /// The share of new traces, 0...1.
    package var ratio: Double
    /// Whether a caller's decision stands for spans that continue its trace.
    package var followsParent: Bool

    package init(ratio: Double, followsParent: Bool = true) {
        self.ratio = ratio.isNaN ? 0 : min(max(ratio, 0), 1)
        self.followsParent = followsParent
    }

    /// By the names of OpenTelemetry's `OTEL_TRACES_SAMPLER`; nil for one that it does not have, or an argument that is no
    /// number from 0 to 1.
    package init?(name: String, argument: String?) {
        var ratio = 1.0
        if let argument, !argument.isEmpty {
            guard let number = Double(argument), (0...1).contains(number) else { return nil }
            ratio = number
        }
        switch name {
        case "always_on": self.init(ratio: 1, followsParent: false)
        case "always_off": self.init(ratio: 0, followsParent: false)
        case "traceidratio": self.init(ratio: ratio, followsParent: false)
        case "parentbased_always_on": self.init(ratio: 1)
        case "parentbased_always_off": self.init(ratio: 0)
        case "parentbased_traceidratio": self.init(ratio: ratio)
        default: return nil
        }
    }

    /// The same for the same trace everywhere: the low 63 bits of its id against the ratio.
    func samples(_ trace: TraceID, parent: SpanContext?) -> Bool {
        if followsParent, let parent { return parent.isSampled }
        if ratio >= 1 { return true }
        return Double(trace.low & (1 << 63 - 1)) < ratio * 0x1p63
    }
}
