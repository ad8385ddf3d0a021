import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

@Suite("Warming a snapshot")
struct WarmTests {
    /// Two commits: small files, a large one, a hard link, and differences from the first commit.
    final class Dataset: Sendable {
        let directory: TemporaryDirectory
        let objects = MemoryObjectStore()
        let counting: CountingObjectStore
        let faulty: FaultyObjectStore
        let store: Store

        init() throws {
            directory = try TemporaryDirectory()
            faulty = FaultyObjectStore(objects)
            counting = CountingObjectStore(faulty)
            store = try Store.create(at: objects)
            var random = SplitMix64(seed: 81)
            for name in ["a", "b"] as [ByteString] {
                try HostFileSystem().makeDirectory(directory.path.appending(name), mode: 0o755)
            }
            for index in 0..<40 {
                try write(ByteString("a/f\(index)"), random.letters(Int(random.next() % 30_000) + 1))
            }
            for index in 0..<10 { try write(ByteString("b/g\(index)"), random.letters(50_000)) }
            try write("b/large", random.letters(9_300_000))
            try write("b/empty", [])
            try HostFileSystem().link(directory.path.appending("a/f1"), directory.path.appending("b/link"))
            try commit()
            for index in 0..<20 { try write(ByteString("a/f\(index)"), random.letters(10_000)) }
            try write("b/g1", Array(try read("b/g1").dropLast(5) + [1, 2, 3]))
            try commit()
        }

        func write(_ path: ByteString, _ bytes: [UInt8]) throws {
            let file = try FileDescriptor.open(
                directory.path.appending(path), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        }

        func read(_ path: ByteString) throws -> [UInt8] {
            let file = try FileDescriptor.open(directory.path.appending(path), O_RDONLY)
            var bytes = [UInt8](repeating: 0, count: Int(try file.status().size))
            _ = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
            return bytes
        }

        private func commit() throws {
            guard let name = DatasetName("data") else { return }
            var options = CommitOptions(dataset: name, source: directory.path)
            options.usesStatCache = false
            _ = try store.commit(options)
        }

        func snapshot(in cache: NodeCache) throws -> Snapshot {
            let found = try store.resolve(SnapshotReference("data"))
            return try Snapshot(
                found.snapshot, from: cache.manifests(origin: ManifestObjects(store: counting)))
        }

        /// As a file system does: out of the container where the chunks are there.
        private func read(_ pack: PackReference, _ chunks: Range<Int>, _ cache: NodeCache) throws -> [UInt8] {
            let container = try cache.container(for: pack, origin: counting)
            guard container.arePresent(chunks) else {
                return try cache.read(container, chunks).flatMap(\.bytes)
            }
            let footer = try container.footer()
            return chunks.flatMap { container.mapped(footer[$0]).bytes }
        }

        /// Every file's bytes through the cache, compared with the directory's.
        func expectReadable(_ cache: NodeCache) throws {
            let snapshot = try snapshot(in: cache)
            var entries: [ManifestEntry] = []
            try snapshot.walk(below: "") { view, index in entries.append(view.entry(index)) }
            var files = 0
            for entry in entries {
                let path = ManifestEntry.displayPath(keyPath: entry.keyPath)
                var bytes: [UInt8] = []
                switch try snapshot.resolve(entry).contents {
                case .chunk(let file):
                    let first = Int(file.chunk)
                    bytes = try read(file.pack, first..<(first + 1), cache)
                case .extents(_, let extents):
                    for extent in extents {
                        let source = try #require(extent.source)
                        let first = Int(source.firstChunk)
                        bytes += try read(source.pack, first..<(first + Int(source.chunkCount)), cache)
                    }
                case .directory: continue
                case .empty, .symlink, .hardLink: break
                }
                #expect(try bytes == read(path), "\(path)")
                files += 1
            }
            #expect(files == 53)
        }
    }

    private func warm(
        _ dataset: Dataset, _ cache: NodeCache, _ paths: [ByteString] = [],
        until isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws -> WarmReport {
        let plan = try WarmPlan(dataset.snapshot(in: cache), paths: paths)
        return try cache.warm(plan, origin: dataset.counting, threads: 4, isCancelled: isCancelled)
    }

    @Test("a warm snapshot is read without a single request")
    func noRequests() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        let report = try warm(dataset, cache)
        #expect(report.isComplete)
        #expect(report.failureCount == 0)
        #expect(report.presentBytes == report.bytes)
        #expect(report.fetchedBytes == report.bytes)
        // What it read ahead beyond the snapshot has come by then.
        cache.close()
        let after = dataset.counting.counts.requests
        let next = try fixture.open()
        defer { next.close() }
        try dataset.expectReadable(next)
        #expect(dataset.counting.counts.requests == after)
    }

    @Test("what is there is not fetched again")
    func again() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        _ = try warm(dataset, cache)
        let after = dataset.counting.counts.requests
        let report = try warm(dataset, cache)
        #expect(report.isComplete)
        #expect(report.fetchedBytes == 0)
        #expect(dataset.counting.counts.requests == after)
    }

    @Test("few requests bring a whole snapshot")
    func requests() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        let snapshot = try dataset.snapshot(in: cache)
        let plan = try WarmPlan(snapshot)
        let before = dataset.counting.counts.read.requests
        _ = try cache.warm(plan, origin: dataset.counting, threads: 4)
        // A footer and a range for each pack; the large file has two ranges, and bases may come alone.
        #expect(dataset.counting.counts.read.requests - before <= UInt64(3 * snapshot.root.packCount + 4))
    }

    @Test("chosen paths bring what they need, a link's target as well")
    func somePaths() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        let all = try WarmPlan(dataset.snapshot(in: cache))
        #expect(all.files == 51)
        let plan = try WarmPlan(dataset.snapshot(in: cache), paths: ["a", "b/link", "/b/large/"])
        #expect(plan.files == 42)
        #expect(plan.bytes < all.bytes)
        #expect(try warm(dataset, cache, ["a", "b/link", "/b/large/"]).isComplete)
        #expect(!cache.residency(of: all).isComplete)
        let link = try WarmPlan(dataset.snapshot(in: cache), paths: ["b/link"])
        #expect(link.files == 1)
        #expect(link.bytes == UInt64(try dataset.read("a/f1").count))
        let error = #expect(throws: StoreError.self) { try warm(dataset, cache, ["c"]) }
        #expect(error?.code == .notFound)
    }

    @Test("a check asks no store and counts exactly")
    func check() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        let plan = try WarmPlan(dataset.snapshot(in: cache))
        let before = dataset.counting.counts.requests
        let empty = cache.residency(of: plan)
        #expect(empty.presentChunks == 0 && empty.presentBytes == 0 && !empty.isComplete)
        #expect(empty.chunks == plan.chunks && empty.bytes == plan.bytes)
        #expect(dataset.counting.counts.requests == before)
        let part = try WarmPlan(dataset.snapshot(in: cache), paths: ["b/large"])
        _ = try cache.warm(part, origin: dataset.counting)
        let some = cache.residency(of: plan)
        #expect(some.presentBytes >= 9_300_000 && some.presentBytes < plan.bytes)
        #expect(some.presentChunks >= part.chunks)
    }

    @Test("an interrupted run ends in order, and the next one goes on")
    func interrupted() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        let asked = Atomic(0)
        let plan = try WarmPlan(dataset.snapshot(in: cache))
        let first = try cache.warm(plan, origin: dataset.counting, threads: 1) {
            asked.add(1, ordering: .relaxed).newValue > 2
        }
        #expect(first.isInterrupted)
        #expect(!first.isComplete)
        cache.close()
        let next = try fixture.open()
        defer { next.close() }
        let second = try warm(dataset, next)
        #expect(second.isComplete)
        #expect(second.fetchedBytes + first.presentBytes == second.bytes)
        try dataset.expectReadable(next)
    }

    @Test("a damaged chunk is told and left out; the rest comes")
    func damaged() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        let large = try #require(
            try dataset.objects.list("packs/").max { $0.size < $1.size })
        var bytes = try dataset.objects.readAll(large.key, limit: 1 << 30)
        bytes[2_000_000] ^= 1
        dataset.objects.replace(large.key, with: bytes)
        let report = try warm(dataset, cache)
        #expect(!report.isComplete)
        #expect(report.failureCount > 0)
        #expect(report.failures.allSatisfy { $0.object == large.key.text })
        #expect(report.presentChunks >= report.chunks - 8)
    }

    @Test("a store that is away ends it at once")
    func unavailable() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        defer { cache.close() }
        let plan = try WarmPlan(dataset.snapshot(in: cache))
        for number in 1...200 { dataset.faulty.on(.read, number, .fails(.unavailable)) }
        let error = #expect(throws: CacheError.self) {
            try cache.warm(plan, origin: dataset.counting, threads: 2)
        }
        #expect(error?.code == .unavailable)
    }

    @Test("an eviction makes the room free, and what comes back is right")
    func evict() throws {
        let (dataset, fixture) = (try Dataset(), try CacheFixture())
        let cache = try fixture.open()
        _ = try warm(dataset, cache)
        let snapshot = try dataset.snapshot(in: cache)
        let packs = withExtendedLifetime(snapshot) { snapshot.root.packs }
        // Somebody reads: nothing may go.
        let uses = try packs.map { ContainerUse(try cache.container(for: $0, origin: dataset.counting)) }
        let inUse = try cache.evict(packs)
        #expect(inUse.packs == 0 && inUse.kept == packs.count)
        withExtendedLifetime(uses) {}
        cache.close()
        let next = try fixture.open()
        defer { next.close() }
        let report = try next.evict(packs)
        #expect(report.packs > 0 && report.kept == 0)
        #expect(report.bytes > 9_000_000)
        #expect(next.residency(of: try WarmPlan(dataset.snapshot(in: next))).presentChunks == 0)
        #expect(try warm(dataset, next).isComplete)
        try dataset.expectReadable(next)
    }
}

extension SplitMix64 {
    /// Bytes that zstd shortens.
    fileprivate mutating func letters(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { bytes += Array("\(next() % 1_000_000) ".utf8) }
        return Array(bytes[..<count])
    }
}
