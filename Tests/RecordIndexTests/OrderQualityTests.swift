import RecordIndex
import Testing

/// How random an order looks. Each measure is a number of standard deviations from what chance gives; bad permutations,
/// which the same test must find, are off by tens or hundreds.
@Suite struct OrderQualityTests {
    private static let records: UInt64 = 20_000
    private static let limit = 5.0

    /// Chi-square of where each sixteenth of the records goes, by sixteenths of the places.
    private static func buckets(_ order: [UInt64]) -> Double {
        let parts = 16
        var counts = [Double](repeating: 0, count: parts * parts)
        for (place, record) in order.enumerated() {
            counts[place * parts / order.count * parts + Int(record) * parts / order.count] += 1
        }
        let expected = Double(order.count) / Double(parts * parts)
        let chi = counts.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
        // Rows and columns are full in every permutation.
        let freedom = Double((parts - 1) * (parts - 1))
        return abs(chi - freedom) / (2 * freedom).squareRoot()
    }

    /// Correlation of a sequence with another one, in standard deviations: 1 / sqrt(n) for independent ones.
    private static func correlation(_ one: [UInt64], _ other: [UInt64]) -> Double {
        let mean = Double(records - 1) / 2
        var (sum, squares) = (0.0, 0.0)
        for (a, b) in zip(one, other) {
            sum += (Double(a) - mean) * (Double(b) - mean)
            squares += (Double(a) - mean) * (Double(a) - mean)
        }
        return abs(sum / squares) * Double(one.count).squareRoot()
    }

    /// Chi-square over sixteenths of the distance from a record to the one that follows `lag` places later, modulo all.
    private static func distances(_ order: [UInt64], lag: Int) -> Double {
        var counts = [Double](repeating: 0, count: 64)
        for place in 0..<order.count - lag {
            let distance = (order[place + lag] &+ records &- order[place]) % records
            counts[Int(distance * 64 / records)] += 1
        }
        let expected = Double(order.count - lag) / 64
        let chi = counts.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
        return abs(chi - 63) / (2.0 * 63).squareRoot()
    }

    /// The worst of all measures over some epochs.
    private static func worst(_ epochs: [[UInt64]]) -> Double {
        let places = (0..<records).map { $0 }
        var worst = 0.0
        for order in epochs {
            worst = max(worst, buckets(order), correlation(order, places))
            for lag in [1, 2, 7, 64] {
                worst = max(
                    worst, distances(order, lag: lag),
                    correlation(order, Array(order[lag...] + order[..<lag])))
            }
        }
        for (one, other) in zip(epochs, epochs.dropFirst()) { worst = max(worst, correlation(one, other)) }
        return worst
    }

    @Test("a shuffled order looks random within an epoch and between epochs")
    func shuffled() throws {
        let epochs = try (0..<6).map { epoch in
            let order = try #require(
                FeedOrder(.shuffled, records: Self.records, seed: 9, epoch: UInt64(epoch)))
            return (0..<Self.records).compactMap { order.record(at: $0) }
        }
        #expect(Self.worst(epochs) < Self.limit)
    }

    @Test("neighbouring seeds give unrelated orders")
    func seeds() throws {
        let orders = try (0..<6).map { seed in
            let order = try #require(
                FeedOrder(.shuffled, records: Self.records, seed: UInt64(seed), epoch: 0))
            return (0..<Self.records).compactMap { order.record(at: $0) }
        }
        #expect(Self.worst(orders) < Self.limit)
    }

    @Test("the test finds bad permutations", arguments: ["multiples", "two rounds", "rotations"])
    func bad(_ kind: String) {
        let epochs = (0..<6).map { epoch -> [UInt64] in
            (0..<Self.records).map { place in
                switch kind {
                // A linear congruence whose multiplier has no divisor in common with 20,000.
                case "multiples": (place &* 7_919 &+ UInt64(epoch) * 101) % Self.records
                case "rotations": (place + UInt64(epoch) * 3_000) % Self.records
                default: Self.twoRounds(place, key: UInt64(epoch))
                }
            }
        }
        #expect(epochs.allSatisfy { Set($0).count == Int(Self.records) })
        #expect(Self.worst(epochs) > 3 * Self.limit)
    }

    /// A Feistel network over 160 * 125 that stops after two rounds.
    private static func twoRounds(_ place: UInt64, key: UInt64) -> UInt64 {
        func mix(_ value: UInt64) -> UInt64 {
            var z = (value &+ key &* 0x9E37_79B9_7F4A_7C15 &+ 1) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        var (low, high) = (place % 160, place / 160)
        high = (high + mix(low) % 125) % 125
        low = (low + mix(high ^ 0x5555) % 160) % 160
        return high * 160 + low
    }

    @Test("of few records every order comes up, each about as often", arguments: [2, 3, 4, 5, 6])
    func permutations(records: UInt64) throws {
        let all = (1...records).reduce(1, *)
        let trials = 60 * all
        var counts: [[UInt64]: Double] = [:]
        for seed in 0..<trials {
            let order = try #require(FeedOrder(.shuffled, records: records, seed: seed, epoch: 5))
            counts[(0..<records).compactMap { order.record(at: $0) }, default: 0] += 1
        }
        #expect(counts.count == Int(all))
        let chi = counts.values.reduce(0) { $0 + ($1 - 60) * ($1 - 60) / 60 }
        let freedom = Double(all - 1)
        #expect(abs(chi - freedom) < Self.limit * (2 * freedom).squareRoot())
    }
}
