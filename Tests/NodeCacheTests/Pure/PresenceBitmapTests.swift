import KamlTestSupport
import Testing

@testable import NodeCache

@Suite struct PresenceBitmapTests {
    @Test("runs of chunks against one look at each, at every border of a word")
    func runs() {
        var random = SplitMix64(seed: 11)
        for count in [1, 63, 64, 65, 128, 200] {
            let bitmap = PresenceBitmap(count: count)
            var model = Set<Int>()
            for _ in 0..<count {
                let chunk = Int(random.next() % UInt64(count))
                #expect(bitmap.set(chunk) == model.insert(chunk).inserted)
            }
            for low in 0...count {
                for high in low...count {
                    #expect(bitmap.areTrusted(low..<high) == (low..<high).allSatisfy { model.contains($0) })
                }
            }
            #expect(bitmap.countTrusted() == model.count)
            #expect(!bitmap.isTrusted(-1) && !bitmap.isTrusted(count) && !bitmap.areTrusted(0..<(count + 1)))
        }
    }

    @Test("trust needs presence, and bits beyond the last chunk are dropped")
    func loading() {
        let bitmap = PresenceBitmap(count: 70)
        bitmap.load(0, present: 0b0110, trusted: 0b1100)
        bitmap.load(1, present: .max, trusted: .max)
        #expect(!bitmap.isTrusted(1) && bitmap.isPresent(1))
        #expect(bitmap.isTrusted(2) && !bitmap.isTrusted(3))
        #expect(bitmap.countTrusted() == 7)
        #expect(bitmap.distrust(2) && !bitmap.isTrusted(2) && bitmap.isPresent(2))
        #expect(!bitmap.clear(2) && !bitmap.isPresent(2))
    }
}
