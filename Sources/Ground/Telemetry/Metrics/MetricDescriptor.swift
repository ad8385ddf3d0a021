/// What the catalogue says about a metric. Only the catalogue makes them, so that nothing else can be shown.
package struct MetricDescriptor: Sendable {
    package enum Kind: Sendable { case counter, gauge, histogram, info }

    package enum Unit: Sendable {
        case none
        case bytes
        /// Counted in nanoseconds.
        case seconds
    }

    /// Its place in the catalogue.
    package let index: Int
    package let name: String
    package let kind: Kind
    package let unit: Unit
    package let labels: [LabelDescriptor]
    /// The most sets of values that are shown of labels without a vocabulary; nil where all have one.
    package let cap: Int?
    package let help: String

    init(
        _ index: Int, _ name: String, _ kind: Kind, _ unit: Unit, _ labels: [LabelDescriptor],
        cap: Int? = nil, help: String
    ) {
        self.index = index
        self.name = name
        self.kind = kind
        self.unit = unit
        self.labels = labels
        self.cap = cap
        self.help = help
    }

    /// How many sets of values its labels have; 1 without labels.
    var seriesCount: Int { labels.reduce(1) { $0 * $1.values.count } }
}

/// A label's name and all that it can say.
package struct LabelDescriptor: Sendable {
    package let name: String
    /// Empty where values come from outside.
    package let values: [String]

    init(_ name: String, _ values: [String]) {
        self.name = name
        self.values = values
    }
}

/// A set of values of a metric's labels, out of the catalogue's vocabulary.
package protocol MetricLabels: Sendable {
    static var count: Int { get }
    /// 0..<count.
    var index: Int { get }
}

/// The value of one label.
package protocol MetricLabel: MetricLabels, CaseIterable, RawRepresentable where RawValue == Int {
    static var descriptor: LabelDescriptor { get }
}

extension MetricLabel {
    package static var count: Int { allCases.count }
    package var index: Int { rawValue }
}

/// For metrics that have none.
package struct NoLabels: MetricLabels {
    package init() {}
    package static let count = 1
    package var index: Int { 0 }
}

package struct LabelPair<First: MetricLabel, Second: MetricLabel>: MetricLabels {
    package var first: First
    package var second: Second

    package init(_ first: First, _ second: Second) {
        self.first = first
        self.second = second
    }

    package static var count: Int { First.count * Second.count }
    package var index: Int { first.index * Second.count + second.index }
}

/// What only grows.
package struct CounterMetric<Labels: MetricLabels>: Sendable {
    let descriptor: MetricDescriptor
    init(_ descriptor: MetricDescriptor) { self.descriptor = descriptor }
}

/// What goes up and down.
package struct GaugeMetric<Labels: MetricLabels>: Sendable {
    let descriptor: MetricDescriptor
    init(_ descriptor: MetricDescriptor) { self.descriptor = descriptor }
}

/// How durations are distributed.
package struct HistogramMetric<Labels: MetricLabels>: Sendable {
    let descriptor: MetricDescriptor
    init(_ descriptor: MetricDescriptor) { self.descriptor = descriptor }
}

/// A counter whose labels' values come from outside; more of them than its cap are summed under "other".
package struct CappedCounterMetric: Sendable {
    let descriptor: MetricDescriptor
    init(_ descriptor: MetricDescriptor) { self.descriptor = descriptor }
}

/// A gauge whose labels' values come from outside; more of them than its cap are summed under "other".
package struct CappedGaugeMetric: Sendable {
    let descriptor: MetricDescriptor
    init(_ descriptor: MetricDescriptor) { self.descriptor = descriptor }
}
