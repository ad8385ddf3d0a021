import CKamlFeed
import System
import Telemetry

/// Why nothing is begun.
enum StallCauseLabel: Int, Sendable { case credits, memory }

/// What the feeds of this process count.
final class FeedMetrics: Sendable {
    func streamBegan() {}
    func streamEnded() {}
    func released(mapped: Int, _ entry: kaml_submission) {}
    func failed() {}
    func refused() {}
    func misused() {}
    func sessionBegan() {}
    func sessionEnded() {}
    func stalled(_ cause: StallCauseLabel, nanoseconds: UInt64) {}
    func gaveOut(records: Int, mapped: Int, copied: Int, depth: Int) {}
}
