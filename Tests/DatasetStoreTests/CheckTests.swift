import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// What `kaml check` makes of a store that somebody tampered with.
@Suite struct CheckTests {
    @Test("a record's number is not counted up to: a gap is one damage")
    func gapInTheLog() throws {
        let fixture = try SourceFixture()
        try fixture.write("a", [1])
        try fixture.commit()
        let first = try #require(try fixture.objects.list(LogKey.prefix).first)
        let record = try fixture.objects.readAll(first.key, limit: 1 << 20)
        let stray = try #require(LogKey.of(.max))
        fixture.objects.replace(stray, with: record)
        let report = try StoreCheck(fixture.objects).run()
        #expect(report.damages.count == 2)
        let gap = try #require(report.damages.first { $0.object == LogKey.of(2)?.text })
        let end = try #require(LogKey.of(.max - 1))
        #expect(gap.problem == .missingThrough(end.text))
        #expect(gap.problem.word == "missing" && gap.impact.isWholeStore)
        #expect(report.damages.contains { $0.object == stray.text })
        #expect(report.logRecords == 2 && report.snapshots == 1)
    }

    @Test("a pack's header is looked at, although no read needs it")
    func packHeader() throws {
        let fixture = try SourceFixture()
        try fixture.write("a", [1, 2, 3])
        try fixture.commit()
        #expect(try StoreCheck(fixture.objects).run().isSound)
        let pack = try #require(try fixture.objects.list("packs/").first)
        let good = try fixture.objects.readAll(pack.key, limit: 1 << 20)
        for index in 0..<32 {
            var bad = good
            bad[index] ^= 1
            fixture.objects.replace(pack.key, with: bad)
            let report = try StoreCheck(fixture.objects).run()
            #expect(report.damages.map(\.object) == [pack.key.text])
            #expect(report.damages.first?.impact.pathCount == 0)
        }
    }
}
