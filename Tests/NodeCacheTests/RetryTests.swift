import DatasetStore
import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// Containers that could not be opened at first.
@Suite struct RetryTests {
    @Test(
        "a container that its disk refused gets its files after a pause, and reads nothing ahead until then")
    func refusedAtFirst() throws {
        let home = try CacheFixture()
        let store = MemoryObjectStore()
        let fixture = try PackFixture.random(Array(repeating: 30_000, count: 20), seed: 1, to: store)
        let files = FaultyFileSystem()
        let clock = HandClock(seconds: 1)
        let cache = try NodeCache(directory: home.directory, fileSystem: files, clock: clock) { _ in }
        files.always(.truncate, .noSpace)
        let first = try cache.container(for: fixture.pack, origin: store)
        for chunk in 0..<5 { #expect(try cache.read(first, chunk..<(chunk + 1)) == [fixture.chunks[chunk]]) }
        #expect(cache.statistics().verifiedChunks == 5)
        files.always(.truncate, nil)
        #expect(try cache.container(for: fixture.pack, origin: store) === first)
        clock.advance(seconds: 40)
        let second = try cache.container(for: fixture.pack, origin: store)
        #expect(second.hasDisk)
        #expect(try cache.read(second, 0..<20) == fixture.chunks)
        #expect(second.isComplete)
        cache.close()
    }
}
