import System

/// Keeps a failing disk or store from filling the log: a text is told once in ten seconds, and then how often it came
/// up in between.
final class RepeatedNotices: Sendable {
    private static let pause: UInt64 = 10_000_000_000
    /// Texts that are remembered at a time; more of them, all different, are told in full.
    private static let limit = 1000

    private struct Told {
        var time: UInt64
        var repeated = 0
    }

    private let clock: any Clock
    private let told = Monitor<[String: Told]>([:])

    init(_ clock: any Clock) { self.clock = clock }

    /// How often the text came up since it was told last; nil when it was told just now.
    func repetitions(of text: String) -> Int? {
        let now = clock.monotonicNanoseconds()
        return told.withLock { told in
            if let last = told[text], now &- last.time < Self.pause {
                told[text]?.repeated += 1
                return nil
            }
            let repeated = told[text]?.repeated ?? 0
            if told.count >= Self.limit { told = told.filter { now &- $0.value.time < Self.pause } }
            if told.count >= Self.limit { told = [:] }
            told[text] = Told(time: now)
            return repeated
        }
    }
}
