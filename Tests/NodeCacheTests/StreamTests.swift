import DatasetStore
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

/// Frames that come in pieces, streams that break, and memory that stays small.
@Suite struct StreamTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture() }

    @Test(
        "pieces of any size fill a container with the same bytes", arguments: [1, 23, 24, 25, 4096, 100_003])
    func pieces(_ size: Int) throws {
        let base = try PackFixture.write([text(9000, seed: 1)], forms: [.zstd], to: store)
        let lengths = size < 30 ? [700, 300_000, 1] : [700, 300_000, 1, 1 << 20, 262_144, 262_121, 262_120]
        var random = SplitMix64(seed: UInt64(size))
        let chunks =
            lengths.map { random.bytes($0) } + [text(20_000, seed: 3), edited(base.chunks[0].bytes, seed: 5)]
        let forms: [PackFixture.Form] = lengths.map { _ in .plain } + [.zstd, .prefix(base, 0)]
        let fixture = try PackFixture.write(chunks, forms: forms, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: PiecewiseStore(store) { size })
        #expect(try cache.read(container, 0..<chunks.count) == fixture.chunks)
        #expect(container.isComplete)
        for chunk in chunks.indices {
            #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
        }
        cache.close()
    }

    @Test("what a broken stream brought is kept, and the rest is asked for once more")
    func broken() throws {
        let fixture = try PackFixture.random(Array(repeating: 300_000, count: 8), seed: 2, to: store)
        let broken = PiecewiseStore(store) { 10_000 }
        broken.breakAfter([1_000_000])
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: broken)
        _ = try container.footer()
        #expect(try cache.read(container, 0..<8) == fixture.chunks)
        #expect(broken.requests == 1 + 2)
        let again = try PackFixture.random(Array(repeating: 300_000, count: 8), seed: 3, to: store)
        let second = try cache.container(for: again.pack, origin: broken)
        _ = try second.footer()
        broken.breakAfter([1_000_000, 500_000])
        #expect { try cache.read(second, 0..<8) } throws: { ($0 as? CacheError)?.code == .unavailable }
        #expect(second.presentCount == 4)
        #expect(try cache.read(second, 0..<8) == again.chunks)
        cache.close()
    }

    @Test("a flipped bit in a large chunk is found, and only that chunk is read again")
    func flipped() throws {
        let fixture = try PackFixture.random(Array(repeating: 300_000, count: 8), seed: 4, to: store)
        let faulty = FaultyObjectStore(store)
        let pieces = PiecewiseStore(faulty) { 50_000 }
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: pieces)
        _ = try container.footer()
        faulty.on(.read, 1, .flippedBit(8 * 1_000_000))
        #expect(try cache.read(container, 0..<8) == fixture.chunks)
        #expect(cache.statistics().failedChunks == 1)
        for chunk in 0..<8 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        cache.close()
    }

    @Test("a full disk in the middle of a large chunk: its bytes are answered all the same")
    func fullDisk() throws {
        let fixture = try PackFixture.random([600_000, 600_000], seed: 5, to: store)
        let files = FaultyFileSystem()
        let cache = try home.open(files: files)
        let container = try cache.container(for: fixture.pack, origin: PiecewiseStore(store) { 50_000 })
        _ = try container.footer()
        files.on(.write, 3, .noSpace)
        #expect(try cache.read(container, 0..<2) == fixture.chunks)
        for chunk in 0..<2 where container.isPresent(chunk) {
            #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
        }
        files.always(.write, .noSpace)
        let other = try PackFixture.random([600_000], seed: 6, to: store)
        let full = try cache.container(for: other.pack, origin: PiecewiseStore(store) { 50_000 })
        #expect(try cache.read(full, 0..<1) == other.chunks)
        #expect(!full.isPresent(0))
        files.always(.write, nil)
        cache.close()
    }

    @Test("memory stays within its limit, as it is counted and as it is held, whatever is read at once")
    func memory() throws {
        let fixtures = try (0..<6).map {
            try PackFixture.random(
                Array(repeating: 1 << 20, count: 24), seed: UInt64($0), layout: .file, to: store)
        }
        let texts = try PackFixture.write(
            (0..<40).map { text(400_000, seed: UInt64($0)) }, forms: Array(repeating: .zstd, count: 40),
            to: store)
        var options = CacheOptions()
        options.maximumInFlightBytes = 8 << 20
        let cache = try home.open(options)
        let slow = PiecewiseStore(store) { 30_000 }
        try inParallel(8) { thread in
            let fixture = thread < 6 ? fixtures[thread] : texts
            let container = try cache.container(for: fixture.pack, origin: slow)
            for chunk in fixture.chunks.indices {
                #expect(try cache.read(container, chunk..<(chunk + 1)) == [fixture.chunks[chunk]])
            }
        }
        cache.settle()
        let peaks = cache.scheduler.peaks
        #expect(peaks.budget <= 8 << 20)
        #expect(peaks.buffers <= 8 << 20)
        cache.close()
    }

    @Test("a pack whose store hangs does not keep the others from being read")
    func hangingPack() throws {
        let stuck = try PackFixture.random(Array(repeating: 5000, count: 64), seed: 6, to: store)
        let good = try PackFixture.random(Array(repeating: 5000, count: 64), seed: 7, to: store)
        let gated = GatedObjectStore(store) { _ in true }
        var options = CacheOptions()
        options.fetchThreads = 8
        let cache = try home.open(options)
        let hanging = try cache.container(for: stuck.pack, origin: gated)
        let answered = Monitor(0)
        for chunk in stride(from: 0, to: 64, by: 2) {
            let part = FetchPart(container: hanging, chunks: chunk..<(chunk + 1), hint: stuck.hint(chunk))
            // On a thread of its own: two of them run inline.
            try Thread(name: "reader") {
                cache.fetch([part]) { result in
                    #expect((try? result.get()) != nil)
                    answered.withLock { $0 += 1 }
                    answered.wake()
                }
            }.detach()
        }
        while gated.reads.count < 3 { Parker().park(nanoseconds: 1_000_000) }
        let container = try cache.container(for: good.pack, origin: store)
        for chunk in 0..<64 {
            let part = FetchPart(container: container, chunks: chunk..<(chunk + 1))
            #expect(try cache.read([part], settles: false) == [good.chunks[chunk]])
        }
        gated.open()
        answered.wait { $0 == 32 ? () : nil }
        cache.close()
    }
}

/// A store that streams in pieces of chosen sizes, and breaks off when it is told to.
final class PiecewiseStore: ObjectStore {
    private let store: any ObjectStore
    private let size: @Sendable () -> Int
    private let state = Monitor((requests: 0, breaks: [Int]()))

    init(_ store: any ObjectStore, size: @escaping @Sendable () -> Int) {
        self.store = store
        self.size = size
    }

    var location: String { store.location }
    var requests: Int { state.withLock { $0.requests } }

    /// The next streams break after so many bytes, one after the other.
    func breakAfter(_ bytes: [Int]) { state.withLock { $0.breaks = bytes } }

    func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        state.withLock { $0.requests += 1 }
        try store.read(key, from: offset, into: buffer)
    }

    func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let end = state.withLock { state -> Int in
            state.requests += 1
            return state.breaks.isEmpty ? .max : state.breaks.removeFirst()
        }
        var moved = 0
        var isBroken = false
        let step = size()
        try store.read(key, range) { bytes throws(ObjectStoreError) in
            var taken = 0
            while taken < bytes.count {
                if moved >= end {
                    isBroken = true
                    return false
                }
                let count = min(step, bytes.count - taken)
                guard try body(UnsafeRawBufferPointer(rebasing: bytes[taken..<(taken + count)])) else {
                    return false
                }
                taken += count
                moved += count
            }
            return true
        }
        if isBroken { throw ObjectStoreError(.unavailable, .read, key: key.text, location: location) }
    }

    func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? { try store.size(of: key) }
    func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try store.readAll(key, limit: limit)
    }
    func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome { try store.createIfAbsent(key, bytes) }
    func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        try store.makeWriter(key)
    }
    func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) { try store.list(prefix, after: after, body) }
    func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store.delete(key) }
}
