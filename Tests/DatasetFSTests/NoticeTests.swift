import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import DatasetFS

/// What is told of reads that fail.
@Suite struct NoticeTests {
    @Test("a text is told once in ten seconds, then with a count")
    func repeated() {
        let clock = HandClock()
        let notices = RepeatedNotices(clock)
        #expect(notices.repetitions(of: "a") == 0)
        for _ in 0..<5 { #expect(notices.repetitions(of: "a") == nil) }
        #expect(notices.repetitions(of: "b") == 0)
        clock.advance(seconds: 11)
        #expect(notices.repetitions(of: "a") == 5)
        clock.advance(seconds: 11)
        #expect(notices.repetitions(of: "a") == 0)
    }

    @Test("a file that cannot be read fills no log")
    func failingReads() throws {
        let fixture = try FileSystemFixture()
        let (pack, entries) = try fixture.pack([[UInt8](repeating: 7, count: 4096)], layout: .slots)
        let files = try fixture.mount([(4096, .chunk(.init(pack: pack, chunk: 0, entry: entries[0])))])
        try fixture.store.delete(pack.key)
        for _ in 0..<100 { #expect(throws: Errno.inputOutput) { try files.read(2, 4096) } }
        #expect(fixture.told.count == 1)
    }
}
