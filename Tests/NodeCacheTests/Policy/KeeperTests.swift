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
        let before = cache.totals.filledBytes + UInt64(cache.totals.readThroughs) * 16_384
        for index in orders.dropFirst(40) {
            try read(cache, index)
            cache.keeper.look()
        }
        cache.settle()
        let missed = cache.totals.filledBytes + UInt64(cache.totals.readThroughs) * 16_384 - before
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

    @Test(
        "looks in the middle of fills lose count of nothing, and the limit holds"
    )
    func looksWhileFilling() throws {
        let limit = 20 * (Self.packBytes + 12_288)
        let cache = try home.open(options { $0.bytes = UInt64(limit) })
        // Maps are there before it is full.
        for fixture in packs { _ = try cache.container(for: fixture.pack, origin: store) }
        cache.keeper.look()
        let isDone = Atomic(false)
        let looker = try Thread(name: "looks") {
            while !isDone.load(ordering: .acquiring) { cache.keeper.look() }
        }
        try inParallel(4) { reader in
            for chunk in PolicySimulationTests.shuffledEpochs(2, of: 640, seed: UInt64(reader)) {
                let container = try cache.container(for: packs[chunk / 16].pack, origin: store)
                let part = FetchPart(container: container, chunks: (chunk % 16)..<(chunk % 16 + 1))
                _ = try cache.read([part], settles: false)
            }
        }
        isDone.store(true, ordering: .releasing)
        looker.join()
        cache.settle()
        cache.keeper.look()
        #expect(diskUsage(cache) <= limit + limit / 100)
        #expect(cache.usage.usedBytes == UInt64(diskUsage(cache)))
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

    @Test("what others put on the disk is room that the cache gives back")
    func freeSpace() throws {
        let files = FaultyFileSystem()
        let room = Atomic<Int>(10 * (Self.packBytes + 12_288))
        let kept = 100 << 20
        files.setSpace { [home] in
            let used = CacheLayout.usedBytes(home.directory)
            return FileSystemSpace(
                totalBytes: 1 << 30,
                availableBytes: UInt64(max(0, kept + room.load(ordering: .relaxed) - used)))
        }
        var options = options { _ in }
        options.limits.freeBytes = UInt64(kept)
        let cache = try home.open(options, files: files)
        for index in 0..<20 {
            try read(cache, index)
            cache.settle()
            cache.keeper.look()
        }
        #expect(diskUsage(cache) <= room.load(ordering: .relaxed) + 65_536)
        #expect(cache.usage.containers > 5)
        room.store(3 * (Self.packBytes + 12_288), ordering: .relaxed)
        for _ in 0..<3 { cache.keeper.look() }
        #expect(diskUsage(cache) <= room.load(ordering: .relaxed) * 101 / 100 + 65_536)
        room.store(-Self.packBytes, ordering: .relaxed)
        for _ in 0..<3 { cache.keeper.look() }
        #expect(cache.usage.containers == 0)
        for index in 0..<20 { try read(cache, index) }
        #expect(cache.condition == .healthy)
        cache.close()
    }

    @Test("readers see right bytes while the limit comes and goes")
    func readersUnderEviction() throws {
        let cache = try home.open(options { _ in })
        let isDone = Atomic(false)
        let keeper = try Thread(name: "limits") { [cache] in
            var limits = cache.limits
            while !isDone.load(ordering: .acquiring) {
                limits.bytes = limits.bytes == 1 ? 30 << 20 : 1
                cache.setLimits(limits)
                cache.keeper.look()
            }
        }
        try inParallel(4) { reader in
            var random = SplitMix64(seed: UInt64(reader))
            for _ in 0..<150 {
                let index = Int(random.next() % 10)
                let container = try cache.container(for: packs[index].pack, origin: store)
                let chunk = Int(random.next() % 16)
                if container.enter() {
                    defer { container.leave() }
                    if container.isPresent(chunk) {
                        #expect(container.mapped(packs[index].entries[chunk]) == packs[index].chunks[chunk])
                        continue
                    }
                }
                let part = FetchPart(container: container, chunks: chunk..<(chunk + 1))
                #expect(try cache.read([part], settles: false) == [packs[index].chunks[chunk]])
            }
        }
        isDone.store(true, ordering: .releasing)
        keeper.join()
        #expect(cache.totals.evictedContainers > 0)
        cache.close()
    }

    @Test("a disk that does not let go of files is told of once, and what it keeps counts on")
    func unlinkFails() throws {
        let files = FaultyFileSystem()
        let cache = try home.open(options { _ in }, files: files)
        for index in 0..<5 { try read(cache, index) }
        cache.settle()
        cache.keeper.look()
        files.always(.unlink, .inputOutput)
        var limits = cache.limits
        limits.bytes = 1
        cache.setLimits(limits)
        for _ in 0..<3 { cache.keeper.look() }
        #expect(cache.usage.containers == 5 && cache.usage.usedBytes > 5 * UInt64(Self.packBytes))
        #expect(home.told.count == 1, "\(home.told)")
        for index in 0..<5 { try read(cache, index) }
        files.always(.unlink, nil)
        cache.keeper.look()
        #expect(cache.usage.containers == 0)
        cache.close()
    }

    @Test("what two datasets both read is there once, and the books say what that saves")
    func sharing() throws {
        let cache = try home.open(options { _ in })
        for name in ["first", "second", "third"] {
            try read(cache, 0, tenant: cache.tenant(named: name))
            try read(cache, 1, tenant: cache.tenant(named: "first"))
        }
        cache.settle()
        cache.keeper.look()
        let status = cache.status()
        #expect(status.usage.containers == 2)
        // What the map takes up, and the file system for itself, is up to the file system.
        let least = 2 * UInt64(Self.packBytes)
        #expect((least...(least + 65_536)).contains(status.usage.sharedBytes))
        #expect(status.totals.filledBytes == UInt64(2 * Self.packBytes))
        #expect(status.totals.allocatedBytes == cache.statistics().allocatedBytes)
        cache.close()
    }

    @Test("what a lease holds is not evicted by request either")
    func pinnedByRequest() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<2 { try read(cache, index) }
        cache.settle()
        let end = Timestamp(seconds: 4_000_000_000, nanoseconds: 0)
        try cache.pin(PinLease(name: "job", end: end, packs: [packs[0].pack.id]))
        let report = try cache.evict(packs[..<2].map(\.pack))
        #expect(report.kept == 1 && report.packs == 1)
        try cache.unpin("job")
        #expect(try cache.evict(packs[0].pack.id) > 0)
        cache.close()
    }

    @Test("leases and owners that cannot be read are forgotten, told of, and made anew")
    func damagedTables() throws {
        let layout = CacheLayout(directory: home.directory)
        let lease = PinLease(
            name: "job", end: Timestamp(seconds: 4_000_000_000, nanoseconds: 0), packs: [packs[0].pack.id])
        do {
            let cache = try home.open(options { _ in })
            try cache.pin(lease)
            cache.close()
        }
        for path in [layout.pins, layout.index] {
            try replaceFile(path, Array("kaml-cache-pins 1\nlease job".utf8), suffix: "t", HostFileSystem())
        }
        let cache = try home.open(options { _ in })
        while !cache.usage.isCounted { usleep(1000) }
        #expect(cache.pins.isEmpty)
        // A busy machine's disk may be told of as slow, too.
        #expect(home.told.count { $0.contains("Pin again") } == 1)
        try cache.pin(lease)
        #expect(cache.pins == [lease])
        cache.close()
    }

    @Test("a wall clock that is set by an hour, either way, ends no lease early and hurts nothing else")
    func wallClockSteps() throws {
        let clock = HandClock()
        let files = FaultyFileSystem()
        let cache = try home.open(
            options { $0.bytes = UInt64(Self.packBytes + 65_536) }, files: files, clock: clock)
        func lease(_ name: String, hours: Int64) -> PinLease {
            var end = clock.now()
            end.seconds += hours * 3600
            return PinLease(name: name, end: end, packs: [packs[0].pack.id])
        }
        try cache.pin(lease("a", hours: 2))
        try read(cache, 0)
        for step in [3600, -7200, 3600] as [Int64] {
            clock.stepWall(seconds: step)
            cache.keeper.look()
            #expect(cache.pins.map(\.name) == ["a"])
            #expect(cache.residency(of: packs[0].pack).isComplete)
        }
        // Pauses are measured by the clock that nobody sets.
        files.always(.write, .noSpace)
        try read(cache, 1)
        #expect(cache.condition == .degraded(.refused(.noSpace)))
        files.always(.write, nil)
        clock.stepWall(seconds: -3600)
        clock.advance(seconds: 100)
        cache.keeper.look()
        #expect(cache.condition == .healthy)
        // An hour further than its end, it ends, though the clock was set back on the way.
        clock.advance(seconds: 4 * 3600)
        cache.keeper.look()
        #expect(cache.pins.isEmpty)
        cache.close()
    }

    @Test("leases that cannot be read now are not written over by a new one")
    func unreadableLeases() throws {
        let layout = CacheLayout(directory: home.directory)
        func lease(_ name: String) -> PinLease {
            PinLease(
                name: name, end: Timestamp(seconds: 4_000_000_000, nanoseconds: 0), packs: [packs[0].pack.id])
        }
        do {
            let cache = try home.open(options { _ in })
            try cache.pin(lease("old"))
            cache.close()
        }
        let kept = try readFile(layout.pins, limit: 1000, HostFileSystem()).prefix { $0 != 0 }
        try #require(unsafe truncate("\(layout.pins)", off_t(PinTable.byteLimit) + 1) == 0)
        let cache = try home.open(options { _ in })
        #expect(throws: CacheError.self) { try cache.pin(lease("new")) }
        #expect(cache.pins.isEmpty)
        // In one step: the keeper looks all the time, and a missing file has no leases.
        try replaceFile(layout.pins, Array(kept), suffix: "t", HostFileSystem())
        try cache.pin(lease("new"))
        #expect(Set(cache.pins.map(\.name)) == ["old", "new"])
        cache.close()
    }

    @Test("what others remove from the directory, or put there, is counted at the next walk")
    func recount() throws {
        let cache = try home.open(options { $0.openContainers = 8 })
        for index in 0..<40 { try read(cache, index) }
        cache.settle()
        cache.keeper.look()
        let asleep = packs.first { !(cache.registry.find($0.pack.id)?.hasDisk ?? false) }
        let path = home.dataPath(try #require(asleep).pack)
        let freed = try HostFileSystem().status(of: path).blocks * 512
        let before = cache.usage.usedBytes
        try HostFileSystem().unlink(path)
        cache.keeper.scan()
        #expect(cache.usage.usedBytes == before - freed)
        #expect(cache.usage.usedBytes == cache.statistics().allocatedBytes)
        cache.close()
    }

    @Test("what a lease holds stays, in this life and the next, until the lease ends")
    func pins() throws {
        let clock = HandClock(seconds: 1)
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
        clock.advance(seconds: 999)
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
        #expect(cache.totals.filledBytes == UInt64(40 * Self.packBytes))
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
        while cache.totals.scrubBadChunks == 0 { usleep(1000) }
        cache.setScrubRate(0)
        #expect(cache.totals.scrubBadChunks == 1)
        #expect(!container.isPresent(7) && container.presentCount == 15)
        #expect(home.told.count == 1 && home.told[0].contains("1 chunks"))
        try read(cache, 2)
        cache.settle()
        #expect(container.isComplete && container.mapped(packs[2].entries[7]) == packs[2].chunks[7])
        cache.close()
    }

    @Test("the scrubber goes on where an earlier life of the cache was")
    func scrubPosition() throws {
        let sorted = packs[0..<5].map(\.pack.id).sorted()
        do {
            let cache = try home.open(options { _ in })
            for index in 0..<5 { try read(cache, index) }
            cache.close()
        }
        let path = CacheLayout(directory: home.directory).scrub
        try replaceFile(path, Array("\(sorted[2])\n".utf8), suffix: "t", HostFileSystem())
        var options = options { _ in }
        options.scrubBytesPerSecond = 1 << 30
        let cache = try home.open(options)
        while cache.totals.scrubPasses == 0 { usleep(1000) }
        #expect(cache.totals.scrubbedBytes == UInt64(2 * Self.packBytes))
        #expect(cache.status().scrub.lastPass != nil)
        cache.close()
    }

    @Test("the scrubber keeps to its rate")
    func scrubRate() throws {
        let cache = try home.open(options { _ in })
        for index in 0..<5 { try read(cache, index) }
        cache.settle()
        cache.setScrubRate(Self.packBytes)
        let start = HostClock().monotonicNanoseconds()
        while cache.totals.scrubbedBytes < UInt64(Self.packBytes) { usleep(1000) }
        #expect(HostClock().monotonicNanoseconds() - start > 800_000_000)
        cache.close()
    }
}
