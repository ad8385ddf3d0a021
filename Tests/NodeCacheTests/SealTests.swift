import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// A cache that is encrypted on its disk.
@Suite struct SealTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture(isSealed: true) }

    private func options(_ keys: CacheKeys?) -> CacheOptions {
        var options = CacheOptions()
        options.keys = keys
        return options
    }

    /// All files of the cache's directory with what is in them.
    private func files() -> [(path: ByteString, bytes: [UInt8])] {
        var found: [(ByteString, [UInt8])] = []
        var folders = [home.directory]
        while let folder = folders.popLast() {
            for entry in (try? HostFileSystem().list(folder)) ?? [] {
                let path = folder.appending(entry.name)
                guard let status = try? HostFileSystem().status(of: path) else { continue }
                if status.kind == .directory {
                    folders.append(path)
                } else if let bytes = try? readFile(path, limit: Int(status.size), HostFileSystem()) {
                    found.append((path, bytes))
                }
            }
        }
        return found
    }

    private func holds(_ pattern: [UInt8]) -> [ByteString] {
        files().filter { $0.bytes.contains(pattern) || $0.path.bytes.contains(pattern) }.map(\.path)
    }

    /// Chunks of many sizes, around a sector's among them, all with a pattern in them.
    private func marked(_ pattern: [UInt8]) throws -> PackFixture {
        var random = SplitMix64(seed: 1)
        let lengths = [1, 100, 16_383, 16_384, 16_385, 4096, 300_000, 1 << 20, 40_000]
        return try PackFixture.write(
            lengths.map { length in
                var bytes = random.bytes(length)
                if length > 200 { bytes.replaceSubrange(100..<(100 + pattern.count), with: pattern) }
                return bytes
            }, to: store)
    }

    @Test("what was cached is read again by the same key, and none of it is found in the directory's files")
    func canary() throws {
        let pattern = SplitMix64(seed: 99).pattern(64)
        let fixture = try marked(pattern)
        do {
            let cache = try home.open()
            let container = try cache.container(for: fixture.pack, origin: store)
            #expect(try cache.read(container, fixture.chunks.indices) == fixture.chunks)
            // Out of the container this time.
            for chunk in fixture.chunks.indices {
                #expect(container.isPresent(chunk))
                #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
            }
            cache.close()
        }
        #expect(files().map(\.bytes.count).reduce(0, +) > 1 << 20)
        #expect(holds(pattern) == [])
        #expect(holds(fixture.entries[0].hash.bytes) == [])
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(container.isComplete)
        #expect(try cache.read(container, fixture.chunks.indices) == fixture.chunks)
        #expect(cache.statistics().fetchedBytes < UInt64(2 << 20))
        cache.close()
    }

    @Test("a sealed container gives any range of a chunk, and no mapping and no descriptor")
    func ranges() throws {
        let fixture = try marked([1])
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        _ = try cache.read(container, fixture.chunks.indices)
        #expect(throws: CacheError.self) { try container.lend() }
        for (chunk, plain) in fixture.chunks.enumerated() {
            let count = plain.count
            for (from, to) in [(0, count), (0, 1), (count - 1, count), (count / 3, count / 2 + 1)] {
                let entry = fixture.entries[chunk]
                let got = cache.withSealBuffers { buffers in
                    buffers.open(
                        container, chunk, from: entry.containerOffset, length: count, range: from..<to
                    ).map { Array($0) }
                }
                #expect(got == Array(plain.bytes[from..<to]), "\(from)..<\(to) of chunk \(chunk)")
            }
        }
        cache.close()
    }

    @Test("bytes that rot, marks that rot, and sectors that change places are noticed and fetched again")
    func damage() throws {
        let fixture = try PackFixture.random([40_000, 40_000, 40_000], seed: 3, layout: .file, to: store)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        _ = try cache.read(container, 0..<3)
        func isRight(_ chunk: Int) -> Bool {
            container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]
        }
        let data = home.dataPath(fixture.pack)
        try CacheFixture.damage(data, at: 39_999)
        #expect(!isRight(0) && isRight(1) && isRight(2))
        // Two sectors of the same length, with the marks that go with them.
        let map = home.mapPath(fixture.pack)
        let marks = UInt64(ContainerSeal.envelopeOffset(fixture.pack) + SealEnvelope.byteCount)
        try swap(data, 40_000, 80_000, count: 16_384)
        try swap(map, marks + (1 + 40_000 / 16_384) * 28, marks + (2 + 80_000 / 16_384) * 28, count: 28)
        #expect(!isRight(1) && !isRight(2))
        let opened = cache.withSealBuffers { buffers in
            (0..<3).map {
                buffers.open(
                    container, $0, from: fixture.entries[$0].containerOffset, length: 40_000,
                    range: 0..<40_000
                ) != nil
            }
        }
        #expect(opened == [false, false, false])
        #expect(try cache.read(container, 0..<3) == fixture.chunks)
        #expect(cache.statistics().rejectedChunks == 3)
        #expect(isRight(0) && isRight(1) && isRight(2))
        try CacheFixture.damage(map, at: marks + 5)
        #expect(!isRight(0))
        #expect(try cache.scrub().badChunks == 1)
        cache.close()
    }

    private func swap(_ path: ByteString, _ one: UInt64, _ other: UInt64, count: Int) throws {
        let file = try FileDescriptor.open(path, O_RDWR)
        var first = [UInt8](repeating: 0, count: count)
        var second = first
        _ = try first.withUnsafeMutableBytes { try file.read(into: $0, at: one) }
        _ = try second.withUnsafeMutableBytes { try file.read(into: $0, at: other) }
        try first.withUnsafeBytes { try file.write($0, at: other) }
        try second.withUnsafeBytes { try file.write($0, at: one) }
    }

    @Test("a new key reads what the former one sealed as long as it is listed; then that is removed")
    func rotation() throws {
        let old = try PackFixture.random([5000], seed: 4, to: store)
        let new = try PackFixture.random([6000], seed: 5, to: store)
        func read(_ keys: CacheKeys, _ fixture: PackFixture) throws -> Bool {
            let cache = try home.open(options(keys))
            defer { cache.close() }
            let container = try cache.container(for: fixture.pack, origin: store)
            let wasHere = container.isComplete
            #expect(try cache.read(container, 0..<1) == fixture.chunks)
            return wasHere
        }
        #expect(try !read(CacheFixture.keys(1), old))
        #expect(try read(CacheFixture.keys(2, 1), old))
        #expect(try !read(CacheFixture.keys(2, 1), new))
        #expect(home.told == [])
        #expect(try read(CacheFixture.keys(2), new))
        #expect(home.told.contains { $0.contains("need a key that is not given any more") })
        #expect(try !read(CacheFixture.keys(2), old))
        // A key that nothing was sealed with, as when the wrong one is given.
        #expect(try !read(CacheFixture.keys(3), new))
    }

    @Test("what was in the clear goes when the cache is encrypted, but for the leases")
    func takesUp() throws {
        let fixture = try PackFixture.random([5000], seed: 6, to: store)
        let plain = try CacheFixture(isSealed: false)
        do {
            let cache = try plain.open()
            _ = try cache.read(try cache.container(for: fixture.pack, origin: store), 0..<1)
            try cache.pin(
                PinLease(
                    name: "a", end: Timestamp(seconds: 1 << 40, nanoseconds: 0), packs: [fixture.pack.id]))
            cache.close()
        }
        let cache = try plain.open(options(CacheFixture.keys(1)))
        #expect(plain.told.contains { $0.contains("encrypted from now on: 2 files") })
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(!container.isPresent(0))
        #expect(try cache.read(container, 0..<1) == fixture.chunks)
        while !cache.usage.isCounted { usleep(1000) }
        #expect(cache.keeper.leases.map(\.name) == ["a"])
        cache.close()
    }

    @Test("without a key an encrypted cache is refused, and left as it is, marker or not")
    func refuses() throws {
        let fixture = try PackFixture.random([5000], seed: 7, to: store)
        do {
            let cache = try home.open()
            _ = try cache.read(try cache.container(for: fixture.pack, origin: store), 0..<1)
            cache.close()
        }
        let clear = try CacheFixture(isSealed: false)
        func refused() -> CacheError? {
            do throws(CacheError) {
                _ = try clear.open(options(nil), in: home.directory)
                return nil
            } catch { return error }
        }
        #expect(refused()?.code == .unusable)
        try HostFileSystem().unlink(CacheLayout(directory: home.directory).seal)
        #expect(refused()?.description.contains("--cache-key-file") == true)
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(container.isComplete)
        cache.close()
    }

    @Test("keys are written as bytes, in hexadecimal or in base64; nothing else is one")
    func writtenKeys() {
        let bytes = (0..<32).map { UInt8($0 &* 5 &+ 1) }
        let name = CacheKey.written(bytes)?.name
        #expect(name != nil)
        #expect(CacheKey.written(Array((Hex.encode(bytes) + "\n").utf8))?.name == name)
        #expect(CacheKey.written(Array(Hex.encode(bytes).uppercased().utf8))?.name == name)
        #expect(CacheKey.written(Array(" AQYLEBUaHyQpLjM4PUJHTFFWW2BlanRvdHl+g4iNkpc=\n".utf8)) != nil)
        let wrong: [[UInt8]] = [
            [], Array(bytes.dropLast()), bytes + [1], [UInt8](repeating: 0, count: 32),
            Array(Hex.encode(bytes).dropLast().utf8) + Array("g".utf8),
            Array(String(repeating: "=", count: 44).utf8),
        ]
        for bytes in wrong { #expect(CacheKey.written(bytes) == nil) }
        let key = CacheKey.written(bytes)
        #expect(!"\(key as Any) \(String(reflecting: key))".contains(Hex.encode(bytes).prefix(8)))
    }
}

extension SplitMix64 {
    fileprivate func pattern(_ count: Int) -> [UInt8] {
        var copy = self
        return copy.bytes(count)
    }
}

extension [UInt8] {
    /// Whether the bytes have `pattern` in them.
    fileprivate func contains(_ pattern: [UInt8]) -> Bool {
        withUnsafeBytes { all in
            pattern.withUnsafeBytes { part in
                guard let start = all.baseAddress, let wanted = part.baseAddress else { return false }
                var from = 0
                while from + part.count <= all.count,
                    let found = memchr(start + from, Int32(part[0]), all.count - from - part.count + 1)
                {
                    if memcmp(found, wanted, part.count) == 0 { return true }
                    from = start.distance(to: found) + 1
                }
                return false
            }
        }
    }
}
