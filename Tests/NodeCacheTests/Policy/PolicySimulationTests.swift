import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// Hit ratios of the cache's policy beside LRU and S3-FIFO, on reads as they are made and as they are feared.
@Suite struct PolicySimulationTests {
    /// The policy that the cache has, over entries of one size each.
    struct Ours {
        var queues = TenantQueues<Int>()
        let capacity: Int

        mutating func read(_ id: Int) -> Bool {
            let isHit = queues.contains(id)
            queues.use(id)
            if isHit { return true }
            if queues.count >= capacity {
                queues.metLimit()
                guard queues.evict(forced: false, { _ in true }) != nil else { return false }
            }
            queues.set(id, weight: 1)
            return false
        }
    }

    struct LRU {
        var line = AgeLine<Int>()
        var now: UInt64 = 0
        let capacity: Int

        mutating func read(_ id: Int) -> Bool {
            now += 1
            let isHit = line.lastUse(id) != nil
            line.use(id, at: now)
            if line.count > capacity, let oldest = line.oldest() { line.remove(oldest.id) }
            return isHit
        }
    }

    struct Plain {
        var queue = S3FIFO<Int>()
        let capacity: Int

        mutating func read(_ id: Int) -> Bool {
            if queue.use(id) { return true }
            queue.insert(id, weight: 1)
            while queue.count > capacity, queue.evict() != nil {}
            return false
        }
    }

    struct Ratios {
        var lru = 0.0
        var s3fifo = 0.0
        var ours = 0.0
    }

    /// Hit ratios of the reads from `start` on.
    func play(_ name: String, _ trace: [Int], capacity: Int, from start: Int = 0) -> Ratios {
        var lru = LRU(capacity: capacity)
        var plain = Plain(capacity: capacity)
        var ours = Ours(capacity: capacity)
        var hits = (0, 0, 0)
        for (index, id) in trace.enumerated() {
            let (a, b, c) = (lru.read(id), plain.read(id), ours.read(id))
            guard index >= start else { continue }
            hits = (hits.0 + (a ? 1 : 0), hits.1 + (b ? 1 : 0), hits.2 + (c ? 1 : 0))
        }
        let all = Double(trace.count - start)
        let ratios = Ratios(
            lru: Double(hits.0) / all, s3fifo: Double(hits.1) / all, ours: Double(hits.2) / all)
        func percent(_ value: Double) -> String { "\((value * 1000).rounded() / 10) %" }
        print(
            "\(name), room for \(capacity): LRU \(percent(ratios.lru)), S3-FIFO \(percent(ratios.s3fifo)), "
                + "ours \(percent(ratios.ours))")
        return ratios
    }

    static func shuffledEpochs(_ count: Int, of size: Int, seed: UInt64) -> [Int] {
        var random = SplitMix64(seed: seed)
        return (0..<count).flatMap { _ in
            var order = Array(0..<size)
            for index in stride(from: size - 1, to: 0, by: -1) {
                order.swapAt(index, Int(random.next() % UInt64(index + 1)))
            }
            return order
        }
    }

    @Test(
        "shuffled epochs over what does not fit: nearly all hits that any cache could have",
        arguments: [1.25, 2, 4, 10])
    func epochs(_ times: Double) {
        let size = 1000
        let capacity = Int(Double(size) / times)
        let trace = Self.shuffledEpochs(6, of: size, seed: 7)
        let best = Double(capacity) / Double(size)
        let second = play(
            "epoch 2, dataset \(times)x", Array(trace[..<(2 * size)]), capacity: capacity, from: size)
        #expect(second.ours >= 0.95 * best)
        let later = play("epochs 3-6, dataset \(times)x", trace, capacity: capacity, from: 2 * size)
        #expect(later.ours >= 0.95 * best)
        #expect(later.ours > later.lru && later.ours > later.s3fifo)
    }

    @Test("one and the same order again and again, where LRU never hits")
    func loop() {
        let trace = (0..<6).flatMap { _ in 0..<1000 }
        let ratios = play("loop", trace, capacity: 500, from: 1000)
        #expect(ratios.ours >= 0.95 * 0.5)
        #expect(ratios.lru == 0)
    }

    /// Reads of which a few entries have most, as of an inference server.
    static func skewed(_ count: Int, of size: Int, seed: UInt64) -> [Int] {
        var random = SplitMix64(seed: seed)
        var weights: [Double] = []
        var total = 0.0
        for rank in 1...size {
            total += 1 / Double(rank)
            weights.append(total)
        }
        return (0..<count).map { _ in
            let point = Double(random.next() >> 11) / Double(1 << 53) * total
            return weights.firstIndex { $0 >= point } ?? size - 1
        }
    }

    @Test("skewed reads are served about as by S3-FIFO")
    func skewedReads() {
        let ratios = play("skewed", Self.skewed(40_000, of: 2000, seed: 3), capacity: 200, from: 10_000)
        #expect(ratios.ours >= 0.95 * ratios.s3fifo)
        #expect(ratios.ours > ratios.lru)
    }

    @Test("a scan of everything does not wash out what is read all the time")
    func scan() {
        let hot = Self.skewed(20_000, of: 300, seed: 5)
        var trace: [Int] = []
        for (index, id) in hot.enumerated() {
            trace.append(id)
            if index >= 10_000, index < 15_000 { trace.append(1_000_000 + index) }
        }
        let ratios = play("skewed with a scan", trace, capacity: 150, from: 10_000)
        #expect(ratios.ours >= 0.95 * ratios.s3fifo)
        #expect(ratios.ours > ratios.lru)
    }

    @Test("the files that compilers opened, as recorded", arguments: [50, 100, 200, 400])
    func recorded(_ capacity: Int) throws {
        let source = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        let path = ByteString("/\(source)/Traces/compile-opens.txt")
        let text = String(decoding: try readFile(path, limit: 1 << 20, HostFileSystem()), as: UTF8.self)
        let trace = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0, radix: 36) }
        #expect(trace.count == 19_819)
        let ratios = play("compilers", trace, capacity: capacity)
        #expect(ratios.ours >= 0.92 * ratios.s3fifo && ratios.ours > 1.1 * ratios.lru)
    }

    @Test("a dataset that nobody reads any more makes room for the one that is read now")
    func change() {
        let trace =
            Self.shuffledEpochs(3, of: 400, seed: 1)
            + Self.shuffledEpochs(8, of: 400, seed: 2).map { $0 + 10_000 }
        let ratios = play("another dataset, last 2 epochs", trace, capacity: 200, from: 3600)
        #expect(ratios.ours >= 0.9 * 0.5)
    }
}
