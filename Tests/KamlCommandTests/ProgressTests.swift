@testable import KamlCommand
import Testing

@Suite struct ProgressTests {
    private func meter(_ samples: [(Double, UInt64)]) -> ProgressMeter {
        var meter = ProgressMeter()
        for (seconds, done) in samples { meter.add(.init(seconds: seconds, done: done)) }
        return meter
    }

    @Test func aSteadyRateGivesAnETA() {
        let meter = meter((0...20).map { (Double($0) / 10, UInt64($0) * 100) })
        #expect(abs(meter.rate - 1000) < 1)
        #expect(abs((meter.remaining(of: 10_000) ?? 0) - 8) < 0.1)
        #expect(meter.fraction(of: 4_000) == 0.5)
    }

    @Test func aRateFollowsWithinItsWindow() {
        var samples: [(Double, UInt64)] = []
        for tenth in 0...50 { samples.append((Double(tenth) / 10, UInt64(tenth) * 100)) }
        for tenth in 51...250 { samples.append((Double(tenth) / 10, UInt64(5_000 + (tenth - 50) * 500))) }
        #expect(meter(samples).rate > 4_700)
    }

    @Test func nothingIsPromisedTooEarlyOrWithoutATotal() {
        #expect(meter([(0, 0), (0.1, 100)]).remaining(of: 1_000) == nil)
        #expect(meter([(0, 0), (2, 100)]).remaining(of: nil) == nil)
        #expect(meter([(0, 0), (2, 0)]).remaining(of: 100) == nil)
        #expect(meter([]).fraction(of: 0) == nil)
    }

    @Test func strangeClocksAndCountsDoNoHarm() {
        let meter = meter([(5, 100), (4, 200), (4, 300), (6, 50)])
        #expect(meter.rate >= 0)
        #expect(meter.rate.isFinite)
        #expect(meter.fraction(of: 10) == 1)
        #expect(meter.remaining(of: 10) == nil || meter.remaining(of: 10) == 0)
    }

    @Test func theLineFitsTheTerminal() {
        let meter = meter((0...20).map { (Double($0) / 10, UInt64($0) << 20) })
        let wide = ProgressLine.render(
            label: "storing", meter: meter, total: 40 << 20, note: "7 files", columns: 200)
        #expect(wide.contains("50%"))
        #expect(wide.contains("20.0 MiB / 40.0 MiB"))
        #expect(wide.contains("/s"))
        #expect(wide.contains("ETA 2.00 s"))
        #expect(wide.hasSuffix("7 files"))
        for columns in [1, 20, 40, 80] {
            let line = ProgressLine.render(
                label: "storing", meter: meter, total: 40 << 20, note: "7 files", columns: columns)
            #expect(CellText.width(line) < max(11, columns))
        }
    }

    @Test(arguments: [0.0, 0.5, 1.0, 2.0, -1.0]) func theBarIsAlwaysAsWide(_ fraction: Double) {
        #expect(ProgressLine.bar(fraction).count == 26)
    }
}
