import Testing

@testable import NodeCache

@Suite struct DirectPaceTests {
    private let mebibyte = 1 << 20

    @Test("a disk whose fastest writes are slow is left alone for half a minute, then tried again")
    func slow() {
        var pace = DirectPace()
        for index in 0..<32 {
            #expect(pace.allows(now: UInt64(index)))
            pace.wrote(mebibyte, in: 8_000_000, now: UInt64(index))
        }
        #expect(!pace.allows(now: 31))
        #expect(!pace.allows(now: 29_000_000_000))
        #expect(pace.allows(now: 31_000_000_000))
    }

    @Test("one fast write in a sample is enough: the others may have waited for a processor")
    func fast() {
        var pace = DirectPace()
        for index in 0..<320 {
            pace.wrote(mebibyte, in: index % 32 == 5 ? 500_000 : 20_000_000, now: UInt64(index))
            #expect(pace.allows(now: UInt64(index)))
        }
    }
}
