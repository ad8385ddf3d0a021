import DatasetStore
import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// Answers that the cache's disk did not take.
@Suite struct MemoryAnswerTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture() }

    @Test(
        "a reader that is told before it is set up still has the bytes when the fetch has reused its buffer")
    func bufferReused() throws {
        let fixture = try PackFixture.random([5000], seed: 1, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        let answer = Monitor<Plain?>(nil)
        let request = FetchRequest(
            [ResolvedPart(container: container, chunks: 0..<1, entries: fixture.entries, hasHint: false)]
        ) { result in
            let plain = (try? result.get()).map { Plain(bytes: Array($0.bytes(part: 0, chunk: 0))) }
            answer.withLock { $0 = plain }
        }
        var buffer = fixture.chunks[0].bytes
        request.expect()
        buffer.withUnsafeMutableBytes { buffer in
            request.settle(0, .memory(UnsafeRawBufferPointer(buffer)))
            for index in buffer.indices { buffer[index] = 0xEE }
            request.arm()
        }
        #expect(answer.withLock { $0 } == fixture.chunks[0])
        cache.close()
    }

    @Test("many readers of one chunk on a disk that takes nothing all get its bytes")
    func joinedReaders() throws {
        let fixture = try PackFixture.random(Array(repeating: 100_000, count: 8), seed: 2, to: store)
        let files = FaultyFileSystem()
        let cache = try home.open(files: files)
        let container = try cache.container(for: fixture.pack, origin: store)
        files.always(.write, .noSpace)
        try inParallel(12) { _ in
            for round in 0..<40 {
                let chunk = round / 3 % 8
                let bytes = try cache.read([
                    FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: fixture.hint(chunk))
                ])
                #expect(bytes == [fixture.chunks[chunk]])
            }
        }
        files.always(.write, nil)
        cache.close()
    }
}
