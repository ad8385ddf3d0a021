import KamlTestSupport
import Testing

@testable import NodeCache

@Suite struct ReadaheadStreamsTests {
    @Test("a reader that runs forward is read ahead of, twice as far each time, up to the limit")
    func sequential() {
        var streams = ReadaheadStreams()
        var next = 0
        var windows: [Int] = []
        for _ in 0..<7 {
            let ahead = streams.miss(next..<(next + 1), bytes: 100, limit: 1000)
            windows.append(ahead)
            next += 1
            streams.extended(from: next, to: next + ahead / 100)
            next += ahead / 100
        }
        #expect(windows == [0, 100, 200, 400, 800, 1000, 1000])
    }

    @Test("a reader that jumps is hardly ever read ahead of")
    func random() {
        var random = SplitMix64(seed: 5)
        var streams = ReadaheadStreams()
        var ahead = 0
        for _ in 0..<10_000 {
            let chunk = Int(random.next() % 4096)
            ahead += streams.miss(chunk..<(chunk + 1), bytes: 1, limit: 64)
        }
        #expect(ahead < 200)
    }

    @Test("readers at several places each keep their stream")
    func several() {
        var streams = ReadaheadStreams()
        for step in 0..<4 {
            for place in 0..<4 {
                let chunk = place * 1000 + step
                let ahead = streams.miss(chunk..<(chunk + 1), bytes: 10, limit: 1000)
                #expect(ahead == [0, 10, 20, 40][step])
            }
        }
    }
}
