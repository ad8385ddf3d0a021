import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

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

    /// The disk is tried again in time. The cache's own thread may be at it, or may have tried it too early.
    private func expectHealthy(_ cache: NodeCache, _ clock: HandClock) {
        for _ in 0..<1000 where cache.condition != .healthy {
            clock.advance(seconds: 100)
            cache.keeper.look()
            usleep(1000)
        }
        #expect(cache.condition == .healthy)
    }

    /// The disk is tried again in time, and takes what is read then.
    private func expectTakenUp(_ cache: NodeCache, _ clock: HandClock, _ fixture: PackFixture) throws {
        expectHealthy(cache, clock)
        clock.advance(seconds: 100)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
    }

    @Test(
        "a directory that is moved away: reads go on, it is told once, and it is taken up again when it is back"
    )
    func displaced() throws {
        let clock = HandClock(seconds: 1)
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
        try expectTakenUp(cache, clock, other)
        cache.close()
    }

    @Test("a directory that is replaced by an empty one is used instead, and what was there counts no more")
    func replaced() throws {
        let clock = HandClock(seconds: 1)
        let cache = try home.open(clock: clock)
        try read(cache, fixture)
        cache.keeper.look()
        let files = HostFileSystem()
        try files.rename(home.directory, ByteString(home.directory.bytes + Array(".aside".utf8)))
        try files.makeDirectory(home.directory, mode: 0o700)
        cache.keeper.look()
        #expect(cache.condition == .degraded(.displaced))
        try read(cache, fixture)
        expectHealthy(cache, clock)
        cache.keeper.look()
        #expect(cache.usage.containers == 0)
        clock.advance(seconds: 100)
        #expect(!cache.residency(of: fixture.pack).isComplete)
        for pack in [fixture, other] { try read(cache, pack) }
        cache.settle()
        cache.keeper.look()
        #expect(cache.usage.containers == 2)
        #expect(cache.usage.usedBytes == cache.statistics().allocatedBytes)
        #expect(try cache.evict(fixture.pack.id) > 0)
        try read(cache, fixture)
        cache.close()
    }

    @Test(
        "what lies below the mount point of a disk that is gone is not filled, and the disk is taken up again",
        .enabled(if: geteuid() == 0))
    func unmounted() throws {
        let clock = HandClock(seconds: 1)
        let directory = home.directory
        let files = HostFileSystem()
        try files.makeDirectory(directory, mode: 0o700)
        func mountDisk() -> Bool {
            directory.withCString { mount("tmpfs", $0, "tmpfs", 0, "size=8m,mode=0700") } == 0
        }
        func unmount() { _ = directory.withCString { umount2($0, Int32(MNT_DETACH)) } }
        guard mountDisk() else { return }
        let cache = try home.open(clock: clock)
        try read(cache, fixture)
        unmount()
        for _ in 0..<3 {
            cache.keeper.look()
            clock.advance(seconds: 100)
            try read(cache, fixture)
            try read(cache, other)
        }
        #expect(cache.condition == .degraded(.displaced))
        #expect(try files.list(directory).isEmpty)
        // Another device number than before, as of a disk that was made again by its provisioner.
        #expect(mountDisk())
        defer { unmount() }
        try home.otherCache(in: directory)
        try expectTakenUp(cache, clock, other)
        cache.close()
    }

    @Test("a disk that is read-only at the start is used once it can be written")
    func readOnlyAtFirst() throws {
        let clock = HandClock(seconds: 1)
        let files = FaultyFileSystem()
        try home.open().close()
        // The check of the owner opens the directory, then the lock is opened.
        files.on(.open, 2, .readOnlyFileSystem)
        let cache = try home.open(files: files, clock: clock)
        #expect(cache.condition == .degraded(.noDirectory))
        try read(cache, fixture)
        #expect(home.told.count == 1)
        try expectTakenUp(cache, clock, fixture)
        cache.close()
    }

    @Test("a disk that hangs in a write holds up nobody but who waits for that write")
    func hangs() throws {
        let clock = HandClock(seconds: 1)
        let files = FaultyFileSystem()
        var options = CacheOptions()
        options.writesDirectly = false
        let cache = try home.open(options, files: files, clock: clock)
        let container = try cache.container(for: fixture.pack, origin: store)
        let second = try cache.container(for: other.pack, origin: store)
        _ = try (container.footer(), second.footer())
        cache.settle()
        let gate = Monitor(false)
        let isFirst = Atomic(true)
        files.before(.write) {
            if isFirst.exchange(false, ordering: .relaxed) { gate.wait { $0 ? () : nil } }
        }
        let waiter = try Thread(name: "waiter") {
            _ = try? cache.read([FetchPart(container: container, chunks: 0..<16)], settles: false)
        }
        while isFirst.load(ordering: .relaxed) { usleep(1000) }
        clock.advance(seconds: 3)
        cache.keeper.look()
        #expect(cache.status().condition == .degraded(.slow))
        let bytes = try cache.read([FetchPart(container: second, chunks: 0..<16)], settles: false)
        #expect(bytes == other.chunks && second.presentCount == 0)
        gate.withLock { $0 = true }
        gate.wake()
        waiter.join()
        expectHealthy(cache, clock)
        try read(cache, other)
        #expect(cache.residency(of: other.pack).isComplete)
        cache.close()
    }

    @Test("a disk that is full is told of, and not any more when it takes files again")
    func recovers() throws {
        let clock = HandClock(seconds: 1)
        let files = FaultyFileSystem()
        let cache = try home.open(files: files, clock: clock)
        files.always(.write, .noSpace)
        try read(cache, fixture)
        #expect(cache.condition == .degraded(.refused(.noSpace)))
        cache.keeper.look()
        files.always(.write, nil)
        expectHealthy(cache, clock)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
        cache.close()
    }

    @Test("a disk that takes seconds for a write is left alone until it is faster")
    func slow() throws {
        let clock = HandClock(seconds: 1)
        let files = FaultyFileSystem()
        var options = CacheOptions()
        options.writesDirectly = false
        let cache = try home.open(options, files: files, clock: clock)
        files.before(.write) { clock.advance(seconds: 3) }
        try read(cache, fixture)
        #expect(cache.condition == .degraded(.slow))
        let writes = files.count(.write)
        for _ in 0..<3 { try read(cache, fixture) }
        #expect(files.count(.write) <= writes + 1)
        files.before(.write, nil)
        expectHealthy(cache, clock)
        try read(cache, fixture)
        #expect(cache.residency(of: fixture.pack).isComplete)
        cache.close()
    }
}
