import DatasetStore
import KamlTestSupport
import Synchronization
import System
import Testing

@testable import NodeCache

/// Containers that could not be opened at first.
@Suite struct RetryTests {
    final class HandClock: Clock {
        let time = Atomic<UInt64>(1)
        func now() -> Timestamp { Timestamp(seconds: 0, nanoseconds: 0) }
        func monotonicNanoseconds() -> UInt64 { time.load(ordering: .relaxed) }
    }

    @Test(
        "a container that its disk refused gets its files after a pause, and reads nothing ahead until then")
    func refusedAtFirst() throws {
        let home = try CacheFixture()
        let store = MemoryObjectStore()
        let fixture = try PackFixture.random(Array(repeating: 30_000, count: 20), seed: 1, to: store)
        let files = FaultyFileSystem()
        let clock = HandClock()
        let cache = try NodeCache(directory: home.directory, fileSystem: files, clock: clock) { _ in }
        files.always(.truncate, .noSpace)
        let first = try cache.container(for: fixture.pack, origin: store)
        for chunk in 0..<5 { #expect(try cache.read(first, chunk..<(chunk + 1)) == [fixture.chunks[chunk]]) }
        #expect(cache.statistics().verifiedChunks == 5)
        files.always(.truncate, nil)
        #expect(try cache.container(for: fixture.pack, origin: store) === first)
        clock.time.store(40_000_000_000, ordering: .relaxed)
        let second = try cache.container(for: fixture.pack, origin: store)
        #expect(second.hasDisk)
        #expect(try cache.read(second, 0..<20) == fixture.chunks)
        #expect(second.isComplete)
        cache.close()
    }
}
