import DatasetStore
import Glibc
import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// What `kaml warm` asks of a cache, and takes back from it.
@Suite struct ResidencyTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let fixture: PackFixture

    init() throws {
        home = try CacheFixture()
        fixture = try PackFixture.random(Array(repeating: 9000, count: 70), seed: 1, layout: .file, to: store)
    }

    private func fill(_ chunks: Range<Int>) throws {
        let cache = try home.open()
        _ = try cache.read(try cache.container(for: fixture.pack, origin: store), chunks)
        cache.close()
    }

    @Test("a pack that was never read has nothing here, by chunks and by bytes")
    func nothing() throws {
        let cache = try home.open()
        let all = cache.residency(of: fixture.pack)
        #expect(all.chunks == 70 && all.presentChunks == 0 && all.presentBytes == 0 && !all.isComplete)
        #expect(!cache.residency(of: fixture.pack, bytes: 0..<9000).isComplete)
        #expect(try cache.evict(fixture.pack.id) == 0)
        cache.close()
    }

    @Test("what is there is counted, whether the container is open or not", arguments: [false, true])
    func counted(isOpen: Bool) throws {
        try fill(10..<66)
        let cache = try home.open()
        if isOpen { _ = try cache.container(for: fixture.pack, origin: store) }
        let all = cache.residency(of: fixture.pack)
        #expect(all.chunks == 70 && all.presentChunks == 56 && all.presentBytes == 56 * 9000)
        #expect(cache.residency(of: fixture.pack, chunks: 60..<70).presentChunks == 6)
        #expect(cache.residency(of: fixture.pack, bytes: (10 * 9000)..<(66 * 9000)).isComplete)
        let border = cache.residency(of: fixture.pack, bytes: (10 * 9000 - 1)..<(10 * 9000 + 1))
        #expect(border.chunks == 2 && border.presentChunks == 1)
        cache.close()
    }

    @Test("chunks that the next read would have to hash first are not counted")
    func untrusted() throws {
        try fill(0..<70)
        try CacheFixture.damage(home.mapPath(fixture.pack), at: 130)
        let cache = try home.open()
        #expect(cache.residency(of: fixture.pack).presentChunks == 0)
        cache.close()
    }

    @Test("an evicted container is gone from the disk, and comes again")
    func evict() throws {
        try fill(0..<70)
        let cache = try home.open()
        #expect(try cache.evict(fixture.pack.id) >= 70 * 9000)
        #expect(access(home.dataPath(fixture.pack).description, F_OK) != 0)
        #expect(access(home.mapPath(fixture.pack).description, F_OK) != 0)
        #expect(cache.residency(of: fixture.pack).presentChunks == 0)
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<70) == fixture.chunks)
        cache.close()
    }

    @Test("a container that somebody reads or has lent is not evicted, and is when they are done")
    func open() throws {
        try fill(0..<70)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        do {
            let part = FetchPart(container: container, chunks: 0..<1)
            #expect { try cache.evict(fixture.pack.id) } throws: { ($0 as? CacheError)?.code == .inUse }
            withExtendedLifetime(part) {}
        }
        #expect(container.isComplete)
        #expect(try cache.evict(fixture.pack.id) >= 70 * 9000)
        #expect(container.presentCount == 0 && !container.isPresent(3))
        #expect(try cache.container(for: fixture.pack, origin: store) === container)
        #expect(try cache.read(container, 0..<70) == fixture.chunks)
        #expect(container.isComplete)
        for chunk in 0..<70 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        _ = try container.lend()
        #expect { try cache.evict(fixture.pack.id) } throws: { ($0 as? CacheError)?.code == .inUse }
        cache.close()
        #expect { try cache.evict(fixture.pack.id) } throws: { ($0 as? CacheError)?.code == .closed }
    }

    @Test("a container that fell asleep answers from its files when it is read again")
    func sleep() throws {
        try fill(0..<70)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        let before = cache.statistics().fetchRequests
        for _ in 0..<3 {
            #expect(cache.registry.sleep(container))
            #expect(!container.hasDisk && container.presentCount == 0 && container.footerLoader.known == nil)
            #expect(try cache.container(for: fixture.pack, origin: store) === container)
            #expect(container.isComplete)
            #expect(try cache.read(container, 0..<70) == fixture.chunks)
        }
        #expect(cache.statistics().fetchRequests == before)
        cache.close()
        // Closed while it slept, it is clean all the same.
        let again = try home.open()
        #expect(again.residency(of: fixture.pack).isComplete)
        again.close()
    }

    @Test("readers of a container that is evicted again and again get right bytes")
    func race() throws {
        let cache = try home.open()
        let (readers, isOver) = (Monitor(4), Monitor(false))
        let wrong = Monitor(0)
        for number in 0..<4 {
            let (cache, fixture, store) = (cache, fixture, store)
            try Thread(name: "reader") {
                var random = SplitMix64(seed: UInt64(number))
                while !isOver.withLock({ $0 }) {
                    usleep(500)
                    let chunk = Int(random.next() % 70)
                    let container = try? cache.container(for: fixture.pack, origin: store)
                    guard let container else { continue }
                    // As a hit does it, and as a miss does.
                    if container.enter() {
                        if container.isPresent(chunk),
                            container.mapped(fixture.entries[chunk]) != fixture.chunks[chunk]
                        {
                            wrong.withLock { $0 += 1 }
                        }
                        container.leave()
                    }
                    let bytes = try? cache.read(
                        [FetchPart(container: container, chunks: chunk..<(chunk + 1))], settles: false)
                    if bytes != [fixture.chunks[chunk]] { wrong.withLock { $0 += 1 } }
                }
                readers.withLock { $0 -= 1 }
                readers.wake()
            }.detach()
        }
        var evictions = 0
        let end = HostClock().monotonicNanoseconds() + 20_000_000_000
        while evictions < 30, HostClock().monotonicNanoseconds() < end {
            if let freed = try? cache.evict(fixture.pack.id), freed > 0 { evictions += 1 }
        }
        isOver.withLock { $0 = true }
        readers.wait { $0 == 0 ? () : nil }
        #expect(evictions > 0)
        #expect(wrong.withLock { $0 } == 0)
        cache.close()
    }
}
