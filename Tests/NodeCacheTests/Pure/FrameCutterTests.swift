import KamlTestSupport
import Testing

@testable import NodeCache

@Suite struct FrameCutterTests {
    @Test("pieces of any sizes give each frame its bytes, once and in order")
    func anyPieces() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        for _ in 0..<300 {
            let start = UInt64(below(1000))
            var frames: [Range<UInt64>] = []
            var position = start
            for _ in 0..<below(12) {
                position += below(3) == 0 ? UInt64(below(50)) : 0
                let count = UInt64(1 + below(200))
                frames.append(position..<(position + count))
                position += count
            }
            let stream = random.bytes(Int(position - start) + below(40))
            var cutter = FrameCutter(frames: frames, from: start)
            var cut = frames.map { _ in [UInt8]() }
            var ended: [Int] = []
            var taken = 0
            while taken < stream.count {
                let count = min(stream.count - taken, 1 + below(below(2) == 0 ? 3 : 300))
                stream[taken..<(taken + count)].withUnsafeBytes { piece in
                    cutter.cut(piece) { fragment in
                        #expect(fragment.offset == cut[fragment.frame].count, "seed \(seed)")
                        cut[fragment.frame] += Array(fragment.bytes)
                        if fragment.isLast { ended.append(fragment.frame) }
                    }
                }
                taken += count
            }
            let isRight = zip(frames, cut).allSatisfy { frame, bytes in
                bytes == Array(stream[Int(frame.lowerBound - start)..<Int(frame.upperBound - start)])
            }
            #expect(
                isRight && ended == Array(frames.indices) && cutter.finished == frames.count, "seed \(seed)")
        }
    }

    @Test("a stream that ends early has finished the frames that came whole")
    func early() {
        var cutter = FrameCutter(frames: [10..<20, 20..<30, 35..<40], from: 5)
        let bytes = [UInt8](repeating: 1, count: 20)
        bytes.withUnsafeBytes { cutter.cut($0) { _ in } }
        #expect(cutter.finished == 1)
    }
}
