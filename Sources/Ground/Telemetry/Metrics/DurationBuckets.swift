/// The buckets that all histograms share: 1, 2.5 and 5 in every power of ten, from 5 µs to 50 s.
package enum DurationBuckets {
    /// Upper bounds in nanoseconds, each inside its bucket.
    package static let bounds: [UInt64] = [
        5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000,
        1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000, 25_000_000_000, 50_000_000_000,
    ]

    /// One more than the bounds: what is longer than the last.
    package static let count = 23

    /// By the number of significant bits of a duration the first bucket it can be in. Bounds are at least twice their
    /// predecessor, so it is that one, the next or the one after.
    private static let firstByBits: [UInt8] = (0...64).map { bits in
        let smallest: UInt64 = bits == 0 ? 0 : 1 << UInt64(bits - 1)
        return UInt8(bounds.firstIndex { smallest <= $0 } ?? bounds.count)
    }

    @safe struct Table: @unchecked Sendable {
        // Sendable: written once, before anybody has it; never freed.
        let first: UnsafePointer<UInt8>
        let bounds: UnsafePointer<UInt64>
    }

    /// Plain memory: an array would cost the hot path reference counting and bounds checks.
    static let table: Table = {
        let first = UnsafeMutablePointer<UInt8>.allocate(capacity: 65)
        let ends = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
        for (bits, bucket) in firstByBits.enumerated() { unsafe first[bits] = bucket }
        for index in 0..<count { unsafe ends[index] = index < bounds.count ? bounds[index] : .max }
        return unsafe Table(first: first, bounds: ends)
    }()

    /// The bucket of a duration in nanoseconds.
    @inline(__always)
    static func bucket(_ duration: UInt64, _ table: Table) -> Int {
        var bucket = Int(unsafe table.first[64 - duration.leadingZeroBitCount])
        while unsafe duration > table.bounds[bucket] { bucket += 1 }
        return bucket
    }
}
