/// A metric that only grows, for hot paths: adding is one uncontended atomic addition.
package final class Counter<Labels: MetricLabels>: Sendable {
    private let metric: CounterMetric<Labels>
    private let cells = ShardedCells(count: Labels.count)

    init(_ metric: CounterMetric<Labels>) { self.metric = metric }

    @inline(__always)
    package func add(_ amount: UInt64 = 1, _ labels: Labels) { cells.add(labels.index, amount) }

    package func value(_ labels: Labels) -> UInt64 { cells.sum(labels.index) }

    func collect(into collection: inout MetricCollection) {
        for index in 0..<Labels.count { collection.count(metric.descriptor, index, cells.sum(index)) }
    }
}

extension Counter<NoLabels> {
    @inline(__always)
    package func add(_ amount: UInt64 = 1) { add(amount, NoLabels()) }

    package var value: UInt64 { value(NoLabels()) }
}
