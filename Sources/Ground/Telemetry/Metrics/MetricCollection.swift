/// The numbers of one scrape. Collectors add to it; what several of them say about the same series is summed, so that a
/// thousand mounts make no more series than one.
package struct MetricCollection {
    struct Family {
        var counts: [UInt64] = []
        var levels: [Double?] = []
        var distributions: [Distribution] = []
        /// By the values of labels that come from outside.
        var texts: [[String]: Double] = [:]
    }

    /// By the catalogue's order; nil for metrics that nobody spoke of.
    private(set) var families: [Family?]
    private let admission: LabelAdmission

    init(_ admission: LabelAdmission) {
        self.admission = admission
        families = Array(repeating: nil, count: MetricCatalogue.all.count)
    }

    /// Adds to a counter. Metrics in seconds take nanoseconds.
    package mutating func add<Labels>(
        _ metric: CounterMetric<Labels>, _ labels: Labels, _ amount: some BinaryInteger
    ) {
        count(metric.descriptor, labels.index, UInt64(clamping: amount))
    }

    package mutating func add(_ metric: CounterMetric<NoLabels>, _ amount: some BinaryInteger) {
        add(metric, NoLabels(), amount)
    }

    /// Adds to a gauge. Metrics in seconds take nanoseconds.
    package mutating func add<Labels>(
        _ metric: GaugeMetric<Labels>, _ labels: Labels, _ amount: some BinaryInteger
    ) {
        change(metric.descriptor, labels.index) { ($0 ?? 0) + Double(amount) }
    }

    package mutating func add(_ metric: GaugeMetric<NoLabels>, _ amount: some BinaryInteger) {
        add(metric, NoLabels(), amount)
    }

    /// For gauges that tell a worst case: of several collectors the largest is shown.
    package mutating func raise(_ metric: GaugeMetric<NoLabels>, to value: some BinaryInteger) {
        change(metric.descriptor, 0) { max($0 ?? 0, Double(value)) }
    }

    package mutating func set(_ metric: GaugeMetric<NoLabels>, to value: Double) {
        change(metric.descriptor, 0) { _ in value }
    }

    /// `values` are those of the metric's labels, in the catalogue's order.
    package mutating func add(_ metric: CappedCounterMetric, _ values: [String], _ amount: some BinaryInteger) {
        addCapped(metric.descriptor, values, Double(UInt64(clamping: amount)))
    }

    package mutating func add(_ metric: CappedGaugeMetric, _ values: [String], _ amount: some BinaryInteger) {
        addCapped(metric.descriptor, values, Double(amount))
    }

    // MARK: By descriptor

    mutating func count(_ descriptor: MetricDescriptor, _ series: Int, _ amount: UInt64) {
        var family = take(descriptor)
        if family.counts.isEmpty { family.counts = Array(repeating: 0, count: descriptor.seriesCount) }
        family.counts[series] &+= amount
        families[descriptor.index] = family
    }

    mutating func add(_ distribution: Distribution, _ descriptor: MetricDescriptor, _ series: Int) {
        var family = take(descriptor)
        if family.distributions.isEmpty {
            family.distributions = Array(repeating: Distribution(), count: descriptor.seriesCount)
        }
        family.distributions[series].add(distribution)
        families[descriptor.index] = family
    }

    private mutating func change(
        _ descriptor: MetricDescriptor, _ series: Int, _ body: (Double?) -> Double
    ) {
        var family = take(descriptor)
        if family.levels.isEmpty { family.levels = Array(repeating: nil, count: descriptor.seriesCount) }
        family.levels[series] = body(family.levels[series])
        families[descriptor.index] = family
    }

    private mutating func addCapped(_ descriptor: MetricDescriptor, _ values: [String], _ amount: Double) {
        var family = take(descriptor)
        let shown = admission.admit(values, to: descriptor)
        family.texts[shown, default: 0] += amount
        families[descriptor.index] = family
    }

    /// Out of the array while it is changed, so that it is not copied.
    private mutating func take(_ descriptor: MetricDescriptor) -> Family {
        let family = families[descriptor.index] ?? Family()
        families[descriptor.index] = nil
        return family
    }

    /// Keeps only what grows: what a collector leaves behind when it goes.
    mutating func keepCountersOnly() {
        for descriptor in MetricCatalogue.all where descriptor.kind == .gauge || descriptor.kind == .info {
            families[descriptor.index] = nil
        }
    }

    mutating func add(_ other: MetricCollection) {
        for (index, theirs) in other.families.enumerated() {
            guard let theirs else { continue }
            let descriptor = MetricCatalogue.all[index]
            for (series, amount) in theirs.counts.enumerated() { count(descriptor, series, amount) }
            for (series, distribution) in theirs.distributions.enumerated() {
                add(distribution, descriptor, series)
            }
            for (series, level) in theirs.levels.enumerated() {
                if let level { change(descriptor, series) { ($0 ?? 0) + level } }
            }
            for (values, amount) in theirs.texts { addCapped(descriptor, values, amount) }
        }
    }
}
