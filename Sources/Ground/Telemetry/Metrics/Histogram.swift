package import System

/// How durations are distributed, for hot paths: recording is two uncontended atomic additions.
package final class Histogram<Labels: MetricLabels>: Sendable {
    private let metric: HistogramMetric<Labels>
    /// For each set of labels the buckets, then the sum.
    private let cells = ShardedCells(count: Labels.count * (DurationBuckets.count + 1))
    private let table = DurationBuckets.table
    /// By set of labels and bucket. Only traces that are kept leave one, which is rare.
    private let exemplars = Monitor<[Int: Exemplar]>([:])

    init(_ metric: HistogramMetric<Labels>) { self.metric = metric }

    /// Nanoseconds.
    @inline(__always)
    package func record(_ duration: UInt64, _ labels: Labels) {
        let base = labels.index &* (DurationBuckets.count &+ 1)
        let shard = ShardedCells.shard
        cells.add(base &+ DurationBuckets.bucket(duration, table), 1, shard: shard)
        cells.add(base &+ DurationBuckets.count, duration, shard: shard)
    }

    /// Records the duration and the trace that shows it, which should be one that is exported.
    package func record(_ duration: UInt64, _ labels: Labels, trace: TraceID, at time: Timestamp) {
        record(duration, labels)
        let key = labels.index * DurationBuckets.count + DurationBuckets.bucket(duration, table)
        exemplars.withLock { $0[key] = Exemplar(trace: trace, duration: duration, time: time) }
    }

    /// Records the duration, and the span's trace with it where that is exported.
    package func record(_ duration: UInt64, _ labels: Labels, _ span: TraceSpan?) {
        guard let span, span.isExported else { return record(duration, labels) }
        record(duration, labels, trace: span.context.traceID, at: HostClock().now())
    }

    package func count(_ labels: Labels) -> UInt64 { distribution(labels.index).count }

    private func distribution(_ index: Int) -> Distribution {
        let base = index * (DurationBuckets.count + 1)
        var distribution = Distribution()
        for bucket in 0..<DurationBuckets.count { distribution.buckets[bucket] = cells.sum(base + bucket) }
        distribution.sum = cells.sum(base + DurationBuckets.count)
        return distribution
    }

    func collect(into collection: inout MetricCollection) {
        let exemplars = exemplars.withLock { $0 }
        for index in 0..<Labels.count {
            var distribution = distribution(index)
            for bucket in 0..<DurationBuckets.count {
                distribution.exemplars[bucket] = exemplars[index * DurationBuckets.count + bucket]
            }
            collection.add(distribution, metric.descriptor, index)
        }
    }
}

extension Histogram<NoLabels> {
    @inline(__always)
    package func record(_ duration: UInt64) { record(duration, NoLabels()) }
}

/// A trace that shows what lies in a bucket.
struct Exemplar: Sendable {
    var trace: TraceID
    /// Nanoseconds.
    var duration: UInt64
    var time: Timestamp
}

/// A histogram's numbers at one moment.
struct Distribution: Sendable {
    /// Not cumulative.
    var buckets = [UInt64](repeating: 0, count: DurationBuckets.count)
    /// Nanoseconds.
    var sum: UInt64 = 0
    var exemplars: [Int: Exemplar] = [:]

    var count: UInt64 { buckets.reduce(0, &+) }

    mutating func add(_ other: Distribution) {
        for bucket in buckets.indices { buckets[bucket] &+= other.buckets[bucket] }
        sum &+= other.sum
        exemplars.merge(other.exemplars) { $1 }
    }
}
