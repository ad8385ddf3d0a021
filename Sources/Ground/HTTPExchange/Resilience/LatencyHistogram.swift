/// Where recent durations lie, in buckets a quarter of a power of two wide (so within 19 %), from 1 µs to over an hour.
/// Old ones fade: every 512 the counts are halved.
struct LatencyHistogram {
    private static let bucketCount = 128
    private static let fadeAt: UInt32 = 512

    private var buckets = [UInt32](repeating: 0, count: bucketCount)
    private var weight: UInt32 = 0
    /// How many were ever added.
    private(set) var total: UInt64 = 0

    /// Nanoseconds.
    mutating func add(_ duration: UInt64) {
        buckets[Self.bucket(duration)] += 1
        weight += 1
        total += 1
        if weight >= Self.fadeAt { fade() }
    }

    /// The upper end of the bucket that holds this share (0...1) of the durations; nil without any.
    func quantile(_ share: Double) -> UInt64? {
        guard weight > 0 else { return nil }
        let wanted = UInt32((Double(weight) * min(max(share, 0), 1)).rounded(.up))
        var seen: UInt32 = 0
        for (index, count) in buckets.enumerated() where count > 0 {
            seen += count
            if seen >= wanted { return Self.upperEnd(index) }
        }
        return nil
    }

    private mutating func fade() {
        weight = 0
        for index in buckets.indices {
            buckets[index] /= 2
            weight += buckets[index]
        }
    }

    /// Four buckets a power of two, by the two bits below the highest.
    private static func bucket(_ duration: UInt64) -> Int {
        let microseconds = max(4, duration / 1000)
        let exponent = 63 - microseconds.leadingZeroBitCount
        let quarter = Int((microseconds >> UInt64(exponent - 2)) & 3)
        return min((exponent - 2) * 4 + quarter, bucketCount - 1)
    }

    private static func upperEnd(_ bucket: Int) -> UInt64 {
        let (exponent, quarter) = (bucket / 4 + 2, UInt64(bucket % 4))
        return ((4 + quarter + 1) << UInt64(exponent - 2)) * 1000
    }
}
