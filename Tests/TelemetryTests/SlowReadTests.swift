import System
import Testing

@testable import Telemetry

@Suite("The slowest reads")
struct SlowReadTests {
    private func read(_ duration: UInt64, endedAt seconds: Int64) -> SlowRead {
        SlowRead(
            dataset: "data", bytes: 1, duration: duration, ended: Timestamp(seconds: seconds, nanoseconds: 0))
    }

    @Test("are the slowest of the last minutes: those of an incident long past keep none out")
    func memory() {
        var list = SlowReadList()
        for _ in 0..<1000 { list.add(read(9_000_000_000, endedAt: 10)) }
        list.add(read(1_000_000_000, endedAt: 11))
        #expect(list.reads.allSatisfy { $0.duration == 9_000_000_000 })
        list.forget(before: 11)
        list.add(read(1_000_000_000, endedAt: 11))
        #expect(list.reads.map(\.duration) == [1_000_000_000])
    }
}
