/// The order of an epoch with what a cache holds first: both parts in the order that they have without, so that each is as
/// random as before. Which records come early is not; that each comes once is.
package struct CachedFirstOrder: Sendable {
    package let order: FeedOrder
    private let first: FeedOrder?
    private let second: FeedOrder?
    private let cached: RecordRuns
    private let rest: RecordRuns

    /// - Parameters:
    ///   - order: what is beyond its records is left out of `cached`.
    ///   - cached: what the cache holds, as runs of records in any order.
    package init(_ order: FeedOrder, cached: [Range<UInt64>]) {
        let runs = RecordRuns(cached, below: order.records)
        let rest = runs.complement(below: order.records)
        (self.order, self.cached, self.rest) = (order, runs, rest)
        // Each part has an order of its own number of records; other keys, so that they do not resemble each other.
        first = FeedOrder(
            order.kind, records: runs.count, seed: order.seed ^ 0x6361_6368_6564_0001, epoch: order.epoch)
        second = FeedOrder(
            order.kind, records: rest.count, seed: order.seed ^ 0x6361_6368_6564_0002, epoch: order.epoch)
    }

    package var records: UInt64 { order.records }
    /// Places below this have records that are cached.
    package var cachedRecords: UInt64 { cached.count }

    /// The record at a place, below `records`. O(log of the runs).
    package func record(at place: UInt64) -> UInt64? {
        guard place < records else { return nil }
        return place < cached.count
            ? first?.record(at: place).flatMap(cached.record)
            : second?.record(at: place - cached.count).flatMap(rest.record)
    }
}

/// Runs of records, counted through.
struct RecordRuns: Sendable {
    private let runs: [Range<UInt64>]
    /// Records in the runs before each.
    private let before: [UInt64]
    let count: UInt64

    /// Any runs: they are sorted, joined and cut at `end`.
    init(_ ranges: [Range<UInt64>], below end: UInt64) {
        var runs: [Range<UInt64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            let range = range.clamped(to: 0..<end)
            guard !range.isEmpty else { continue }
            if let last = runs.last, range.lowerBound <= last.upperBound {
                runs[runs.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                runs.append(range)
            }
        }
        var before: [UInt64] = []
        var count: UInt64 = 0
        for run in runs {
            before.append(count)
            count += run.upperBound - run.lowerBound
        }
        (self.runs, self.before, self.count) = (runs, before, count)
    }

    func complement(below end: UInt64) -> RecordRuns {
        var gaps: [Range<UInt64>] = []
        var begin: UInt64 = 0
        for run in runs {
            gaps.append(begin..<run.lowerBound)
            begin = run.upperBound
        }
        gaps.append(begin..<end)
        return RecordRuns(gaps, below: end)
    }

    /// The record with a number among them, below `count`.
    func record(_ number: UInt64) -> UInt64? {
        var (low, high) = (0, runs.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if before[middle] <= number { low = middle } else { high = middle }
        }
        guard low < runs.count else { return nil }
        let record = runs[low].lowerBound + (number - before[low])
        return record < runs[low].upperBound ? record : nil
    }
}
