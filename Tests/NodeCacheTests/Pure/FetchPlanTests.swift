import Chunking
import DatasetStore
import Testing

@testable import NodeCache

@Suite struct FetchPlanTests {
    private func claim(_ chunk: Int, at offset: UInt64, stored: UInt32, plain: UInt32? = nil) -> FetchClaim {
        FetchClaim(
            chunk: chunk,
            entry: ChunkEntry(
                hash: .zero, frameOffset: offset, containerOffset: 0, storedLength: stored,
                plainLength: plain ?? stored, codec: .none, base: nil))
    }

    @Test("neighbours join, far ones do not, and a range keeps its limits")
    func joins() {
        let claims = [
            claim(0, at: 32, stored: 76), claim(1, at: 132, stored: 76), claim(2, at: 332, stored: 76),
            claim(9, at: 10_000, stored: 76), claim(10, at: 10_100, stored: 976),
            claim(11, at: 11_100, stored: 76),
        ]
        let ranges = FetchPlan.ranges(claims, limit: 1100, gap: 100)
        #expect(ranges.map(\.bytes) == [32..<432, 10_000..<11_100, 11_100..<11_200])
        #expect(ranges.map(\.claims.count) == [3, 2, 1])
        #expect(FetchPlan.ranges([], limit: 10, gap: 0).isEmpty)
    }

    @Test("a chunk larger than the limit is read alone; plain bytes are limited too")
    func large() {
        let claims = [
            claim(0, at: 32, stored: 5000), claim(1, at: 5056, stored: 10, plain: 2000),
            claim(2, at: 5090, stored: 10, plain: 2000),
        ]
        #expect(FetchPlan.ranges(claims, limit: 1000, gap: 100).map(\.claims.count) == [1, 1, 1])
    }
}
