import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

/// A cache that is kept within its limits while it is read.
@Suite struct KeeperTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let packs: [PackFixture]
    private static let packBytes = 16 * 16_384

    init() throws {
        home = try CacheFixture()
        packs = try (0..<40).map { [store] in
            try PackFixture.random(Array(repeating: 16_384, count: 16), seed: UInt64($0), to: store)
        }
    }

    private func options(_ change: (inout CacheLimits) -> Void) -> CacheOptions {
        var options = CacheOptions()
        options.limits.freeBytes = 0
        options.limits.freeInodes = 0
        change(&options.limits)
        return options
    }

    /// Reads a whole pack and compares it.
    private func read(_ cache: NodeCache, _ index: Int, tenant: CacheTenant = .shared) throws {
        let container = try cache.container(for: packs[index].pack, origin: store, tenant: tenant)
        let bytes = try cache.read([FetchPart(container: container, chunks: 0..<16)], settles: false)
        #expect(bytes == packs[index].chunks)
    }

    /// Bytes of all files in the directory, as du(1) counts them.
    private func diskUsage(_ cache: NodeCache) -> Int { Int(cache.statistics().allocatedBytes) }

    @Test("shuffled epochs over twice the room: half of the second one is hits, and the limit holds")
    func epochs() throws {
        let limit = 20 * (Self.packBytes + 12_288)
        let cache = try home.open(options { $0.bytes = UInt64(limit) })
        let orders = PolicySimulationTests.shuffledEpochs(3, of: 40, seed: 9)
        for index in orders.prefix(40) {
            try read(cache, index)
            cache.keeper.look()
        }
        cache.settle()
        let before = cache.counters.filledBytes + UInt64(cache.counters.readThroughs) * 16_384
        for index in orders.dropFirst(40) {
            try read(cache, index)
            cache.keeper.look()
        }
        cache.settle()
        let missed = cache.counters.filledBytes + UInt64(cache.counters.readThroughs) * 16_384 - before
        let hits = 1 - Double(missed) / Double(80 * Self.packBytes)
        #expect(hits >= 0.95 * 0.5, "\(hits)")
        #expect(diskUsage(cache) <= limit + limit / 100)
        cache.close()
    }

    @Test("reads of which a few packs have most: newcomers that are read again take the place of others")
    func skewed() throws {
        let cache = try home.open(options { $0.bytes = UInt64(8 * (Self.packBytes + 12_288)) })
        var lru = PolicySimulationTests.LRU(capacity: 8)
        let trace = PolicySimulationTests.skewed(1500, of: 40, seed: 4)
        var (hits, recentHits) = (0, 0)
        for (number, rank) in trace.enumerated() {
            // The packs that are read most come last, when the cache is full already.
            let index = number < 60 ? number % 40 : 39 - rank
            let isHit = try cache.container(for: packs[index].pack, origin: store).isComplete
            let isRecent = lru.read(index)
            if number >= 500 {
                (hits, recentHits) = (hits + (isHit ? 1 : 0), recentHits + (isRecent ? 1 : 0))
            }
            try read(cache, index)
            cache.settle()
            cache.keeper.look()
        }
        print("skewed reads through the cache: \(hits) hits of 1000, LRU \(recentHits)")
        #expect(hits > recentHits)
        #expect(cache.statistics().evictedContainers > 0)
        cache.close()
    }

    @Test("what is counted is what the files take up, over lives and evictions")
    func accounting() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<10 { try read(cache, index) }
        cache.settle()
        cache.keeper.look()
        #expect(cache.usage.containers == 10)
        #expect(cache.usage.usedBytes == cache.statistics().allocatedBytes)
        let freed = try cache.evict(packs[3].pack.id)
        #expect(freed > 0)
        #expect(cache.usage.containers == 9)
        #expect(cache.usage.usedBytes == cache.statistics().allocatedBytes)
        cache.close()
        let next = try home.open(options { _ in })
        while !next.usage.isCounted { usleep(1000) }
        #expect(next.usage.containers == 9)
        #expect(next.usage.usedBytes == next.statistics().allocatedBytes)
        try read(next, 3)
        next.settle()
        next.keeper.look()
        #expect(next.usage.usedBytes == next.statistics().allocatedBytes)
        next.close()
    }

    @Test("a limit that is lowered while the cache runs is met at the next look, and reads go on")
    func lowered() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<20 { try read(cache, index) }
        cache.settle()
        cache.keeper.look()
        var limits = cache.limits
        limits.bytes = UInt64(5 * Self.packBytes)
        cache.setLimits(limits)
        cache.keeper.look()
        #expect(diskUsage(cache) <= 5 * Self.packBytes)
        #expect(cache.statistics().evictedContainers >= 15)
        for index in 0..<20 { try read(cache, index) }
        cache.settle()
        #expect(diskUsage(cache) <= 5 * Self.packBytes * 101 / 100)
        cache.close()
    }

    @Test("no more files are made than there may be, and reads go on")
    func inodes() throws {
        let cache = try home.open(options { $0.inodes = 40 })
        for index in 0..<40 {
            try read(cache, index)
            cache.keeper.look()
        }
        cache.settle()
        cache.keeper.look()
        #expect(cache.usage.usedInodes <= 40)
        #expect(cache.usage.containers > 3)
        cache.close()
    }

    @Test("what a lease holds stays, in this life and the next, until the lease ends")
    func pins() throws {
        let clock = HandClock()
        var limits = options { _ in }
        let pinned = Set(packs[0..<4].map(\.pack.id))
        do {
            let cache = try home.open(limits, clock: clock)
            for index in 0..<10 { try read(cache, index) }
            try cache.pin(PinLease(name: "job", end: Timestamp(seconds: 1000, nanoseconds: 0), packs: pinned))
            #expect {
                try cache.pin(PinLease(name: "late", end: Timestamp(seconds: 0, nanoseconds: 0), packs: []))
            } throws: { ($0 as? CacheError)?.code == .unusable }
            cache.close()
        }
        limits.limits.bytes = 1
        let cache = try home.open(limits, clock: clock)
        while !cache.usage.isCounted { usleep(1000) }
        cache.keeper.look()
        #expect(cache.pins.map(\.packs) == [pinned])
        #expect(cache.usage.containers == 4 && cache.usage.pinnedContainers == 4)
        for fixture in packs[0..<4] { #expect(cache.residency(of: fixture.pack).isComplete) }
        clock.seconds.store(1000, ordering: .relaxed)
        cache.keeper.look()
        #expect(cache.pins.isEmpty && cache.usage.containers == 0)
        cache.close()
    }

    @Test("containers that were not used for a while are closed, and read again as if nothing had been")
    func descriptors() throws {
        let cache = try home.open(options { $0.openContainers = 8 })
        for _ in 0..<2 {
            for index in 0..<40 {
                try read(cache, index)
                cache.keeper.look()
                #expect(cache.usage.openContainers <= 9)
            }
        }
        #expect(cache.counters.filledBytes == UInt64(40 * Self.packBytes))
        cache.close()
        let next = try home.open(options { _ in })
        for fixture in packs { #expect(next.residency(of: fixture.pack).isComplete) }
        next.close()
    }

    @Test("memory of footers is bounded, and they come back")
    func footers() throws {
        let cache = try home.open(options { $0.footerBytes = 4096 })
        for index in 0..<40 { try read(cache, index) }
        cache.settle()
        cache.keeper.look()
        #expect(cache.usage.footerBytes <= 4096)
        for index in 0..<40 { try read(cache, index) }
        cache.close()
    }

    @Test(
        "out of descriptors, reads go through to the store, and the cache is used again when there are some")
    func outOfDescriptors() throws {
        let files = FaultyFileSystem()
        let cache = try home.open(options { _ in }, files: files)
        for index in 0..<5 { try read(cache, index) }
        cache.settle()
        files.always(.open, Errno(rawValue: EMFILE))
        for index in 5..<10 { try read(cache, index) }
        #expect(home.told.contains { $0.contains("ulimit -n") })
        files.always(.open, nil)
        usleep(350_000)
        for index in 5..<10 { try read(cache, index) }
        cache.settle()
        for index in 0..<10 { #expect(cache.residency(of: packs[index].pack).isComplete) }
        #expect(cache.condition == .healthy)
        cache.close()
    }

    @Test("two datasets that are read over and over come to even shares")
    func shares() throws {
        let cache = try home.open(options { $0.bytes = UInt64(12 * (Self.packBytes + 12_288)) })
        let (first, second) = (cache.tenant(named: "first"), cache.tenant(named: "second"))
        for _ in 0..<2 { for index in 0..<16 { try read(cache, index, tenant: first) } }
        cache.settle()
        cache.keeper.look()
        for _ in 0..<12 {
            for index in 0..<16 {
                try read(cache, index, tenant: first)
                try read(cache, 20 + index, tenant: second)
                cache.keeper.look()
            }
        }
        let shares = Dictionary(uniqueKeysWithValues: cache.usage.shares.map { ($0.name, $0.bytes) })
        let ratio = Double(shares["second"] ?? 0) / Double(max(1, shares["first"] ?? 0))
        #expect((0.6...1.7).contains(ratio), "\(shares)")
        cache.close()
        // Whose is whose is known in the next life.
        let next = try home.open(options { _ in })
        while !next.usage.isCounted { usleep(1000) }
        #expect(Dictionary(uniqueKeysWithValues: next.usage.shares.map { ($0.name, $0.bytes) }) == shares)
        next.close()
    }

    @Test("the scrubber finds a flipped bit, and the chunk is right again when it is read")
    func scrubs() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<5 { try read(cache, index) }
        cache.settle()
        try CacheFixture.damage(home.dataPath(packs[2].pack), at: packs[2].entries[7].containerOffset + 99)
        cache.setScrubRate(1 << 30)
        let container = try cache.container(for: packs[2].pack, origin: store)
        while cache.counters.scrubBadChunks == 0 { usleep(1000) }
        cache.setScrubRate(0)
        #expect(cache.counters.scrubBadChunks == 1)
        #expect(!container.isPresent(7) && container.presentCount == 15)
        #expect(home.told.count == 1 && home.told[0].contains("1 chunks"))
        try read(cache, 2)
        cache.settle()
        #expect(container.isComplete && container.mapped(packs[2].entries[7]) == packs[2].chunks[7])
        cache.close()
    }

    @Test("the scrubber keeps to its rate")
    func scrubRate() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<5 { try read(cache, index) }
        cache.settle()
        cache.setScrubRate(Self.packBytes)
        let start = HostClock().monotonicNanoseconds()
        while cache.counters.scrubbedBytes < UInt64(Self.packBytes) { usleep(1000) }
        #expect(HostClock().monotonicNanoseconds() - start > 800_000_000)
        cache.close()
    }
}

/// A cache whose disk goes away, fails, or is slow.
@Suite struct DiskTroubleTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let fixture: PackFixture
    let other: PackFixture

    init() throws {
        home = try CacheFixture()
        fixture = try PackFixture.random(Array(repeating: 16_384, count: 16), seed: 1, to: store)
        other = try PackFixture.random(Array(repeating: 16_384, count: 16), seed: 2, to: store)
    }

    private func read(_ cache: NodeCache, _ fixture: PackFixture) throws {
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<16) == fixture.chunks)
    }

    @Test(
        "a directory that is moved away: reads go on, it is told once, and it is taken up again when it is back"
    )
    func displaced() throws {
        let clock = HandClock()
        let cache = try home.open(clock: clock)
        try read(cache, fixture)
        let files = HostFileSystem()
        let aside = ByteString(home.directory.bytes + Array(".aside".utf8))
        try files.rename(home.directory, aside)
        cache.keeper.look()
        cache.keeper.look()
        #expect(cache.condition == .degraded(.displaced))
        #expect(home.told.count == 1, "\(home.told)")
        try read(cache, fixture)
        try read(cache, other)
        #expect((try? files.status(of: home.directory)) == nil)
        try files.rename(aside, home.directory)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        cache.keeper.look()
        #expect(cache.condition == .healthy)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        try read(cache, other)
        #expect(cache.residency(of: other.pack).isComplete)
        cache.close()
    }

    @Test("a disk that is read-only at the start is used once it can be written")
    func readOnlyAtFirst() throws {
        let clock = HandClock()
        let files = FaultyFileSystem()
        try home.open().close()
        files.always(.open, .readOnlyFileSystem)
        files.on(.open, 1, .readOnlyFileSystem)
        // The check of the owner opens the directory first.
        let cache = try? home.open(files: files, clock: clock)
        files.always(.open, nil)
        guard let cache else { return }
        #expect(cache.condition == .degraded(.noDirectory))
        try read(cache, fixture)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        cache.keeper.look()
        #expect(cache.condition == .healthy)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
        cache.close()
    }

    @Test("a disk that is full is told of, and not any more when it takes files again")
    func recovers() throws {
        let clock = HandClock()
        let files = FaultyFileSystem()
        let cache = try home.open(files: files, clock: clock)
        files.always(.write, .noSpace)
        try read(cache, fixture)
        #expect(cache.condition == .degraded(.refused(.noSpace)))
        cache.keeper.look()
        files.always(.write, nil)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        cache.keeper.look()
        #expect(cache.condition == .healthy)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
        cache.close()
    }

    @Test("a disk that takes seconds for a write is left alone until it is faster")
    func slow() throws {
        let clock = HandClock()
        let files = FaultyFileSystem()
        var options = CacheOptions()
        options.writesDirectly = false
        let cache = try home.open(options, files: files, clock: clock)
        files.before(.write) { clock.seconds.wrappingAdd(3, ordering: .relaxed) }
        try read(cache, fixture)
        #expect(cache.condition == .degraded(.slow))
        let writes = files.count(.write)
        for _ in 0..<3 { try read(cache, fixture) }
        #expect(files.count(.write) <= writes + 1)
        files.before(.write, nil)
        clock.seconds.wrappingAdd(100, ordering: .relaxed)
        cache.keeper.look()
        #expect(cache.condition == .healthy)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
        cache.close()
    }
}

/// A clock that stands still until it is turned.
final class HandClock: Clock {
    let seconds = Atomic<UInt64>(1)
    func now() -> Timestamp {
        Timestamp(seconds: Int64(seconds.load(ordering: .relaxed)), nanoseconds: 0)
    }
    func monotonicNanoseconds() -> UInt64 { seconds.load(ordering: .relaxed) * 1_000_000_000 }
}

extension NodeCache {
    var counters: CacheStatistics { context.counters.totals }
}

/// A cache that an earlier life left full.
@Suite struct StartTests {
    @Test("a terabyte of containers is taken over within a second")
    func terabyte() throws {
        let count = getenv("KAML_STRESS") == nil ? 2048 : 16_384
        let home = try CacheFixture()
        let store = MemoryObjectStore()
        // One footer, with which every map says what it has.
        let fixture = try PackFixture.random(Array(repeating: 4096, count: 64), seed: 1, to: store)
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: store)
            #expect(try cache.read(container, 0..<64) == fixture.chunks)
            cache.close()
        }
        let layout = CacheLayout(directory: home.directory)
        let files = HostFileSystem()
        let map = try readFile(layout.map(fixture.pack.id), limit: 1 << 20, files)
        for _ in 1..<count {
            let id = PackID(random: HostRandom())
            try? files.makeDirectory(layout.containerFolder(id), mode: 0o700)
            try replaceFile(layout.map(id), map, suffix: "t", files)
            let data = try files.open(layout.data(id), O_RDWR | O_CREAT, mode: 0o600)
            try files.truncate(data, to: 64 << 20)
        }
        let start = HostClock().monotonicNanoseconds()
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<64) == fixture.chunks)
        let ready = HostClock().monotonicNanoseconds() - start
        while !cache.usage.isCounted { usleep(1000) }
        let counted = HostClock().monotonicNanoseconds() - start
        print(
            "\(count) containers: first read after \(ready / 1_000_000) ms, counted after \(counted / 1_000_000) ms"
        )
        #expect(ready < 1_000_000_000)
        #expect(cache.usage.containers == UInt64(count))
        cache.close()
    }
}
