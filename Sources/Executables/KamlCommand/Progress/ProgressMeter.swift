/// The arithmetic of a progress bar, without a clock or a terminal.
package struct ProgressMeter: Sendable {
    /// One look at the work.
    package struct Sample: Sendable, Hashable {
        /// Of a monotonic clock.
        package var seconds: Double
        package var done: UInt64

        package init(seconds: Double, done: UInt64) {
            self.seconds = seconds
            self.done = done
        }
    }

    /// The rate is that of about this many seconds, so that it follows changes but does not flicker.
    private static let window = 5.0

    package private(set) var rate = 0.0
    package private(set) var elapsed = 0.0
    package private(set) var done: UInt64 = 0
    private var start: Sample?
    private var last: Sample?

    package init() {}

    package mutating func add(_ sample: Sample) {
        done = sample.done
        guard let first = start, let last else {
            start = sample
            self.last = sample
            return
        }
        elapsed = max(0, sample.seconds - first.seconds)
        let interval = sample.seconds - last.seconds
        guard interval > 0 else { return }
        let current = sample.done >= last.done ? Double(sample.done - last.done) / interval : 0
        // The plain mean until a window has passed, then an exponential one with the same memory.
        let weight = min(1, interval / max(interval, min(elapsed, Self.window)))
        rate += weight * (current - rate)
        self.last = sample
    }

    /// Done of total, in 0...1; nil when the total is not known.
    package func fraction(of total: UInt64?) -> Double? {
        guard let total, total > 0 else { return nil }
        return min(1, Double(done) / Double(total))
    }

    /// Seconds to go; nil when nobody can tell.
    package func remaining(of total: UInt64?) -> Double? {
        guard let total, rate > 0, elapsed >= 0.5 else { return nil }
        return total > done ? Double(total - done) / rate : 0
    }
}
