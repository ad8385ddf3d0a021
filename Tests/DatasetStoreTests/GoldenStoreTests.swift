import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

/// A whole small store, committed with the tests as it lies on disk: what was written once stays readable, and the same
/// commits still write the same bytes.
///
/// It holds every kind of object and of chunk: plain, zstd, prefix and reference frames, small files and a large one,
/// a branch and a tag. `KAML_WRITE_VECTORS=1` writes it anew, for a new version of the format; the exact frames are
/// those of zstd 1.5.
@Suite struct GoldenStoreTests {
    private static let directory: ByteString = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        return ByteString(parts.joined(separator: "/") + "/Vectors/store-v1")
    }()

    private static let numbers = Array((0..<1500).map { "\($0 * 7 % 1009)\n" }.joined().utf8)
    private static let edited = Array(
        (0..<1500).map { $0 == 700 ? "edited\n" : "\($0 * 7 % 1009)\n" }.joined().utf8)
    private static let large = [UInt8]((0..<(1_200_000)).map { UInt8(truncatingIfNeeded: $0 / 4096) })
    private static let noise: [UInt8] = {
        var random = SplitMix64(seed: 5)
        return random.bytes(300)
    }()

    private static let dataset = DatasetName("golden")

    /// The commits whose store lies in the directory.
    private static func write(to objects: any ObjectStore) throws {
        let dataset = try #require(dataset)
        let clock = StillClock()
        let source = MemoryObjectSource(location: "memory://golden/")
        let store = try Store.create(
            at: objects,
            .init(
                author: "golden@tests", clock: clock, random: SeededRandom(seed: 1),
                sources: KnownSources(source)))
        func run(_ seed: UInt64, _ change: (inout ImportOptions) -> Void) throws {
            var options = ImportOptions(dataset: dataset, source: source)
            options.clock = clock
            options.random = SeededRandom(seed: seed)
            options.threads = 1
            change(&options)
            _ = try store.importObjects(options)
        }
        source.put("numbers.txt", numbers)
        source.put("dir/noise", noise)
        source.put("dir/large.bin", large)
        source.put("empty", [])
        try run(2) {
            $0.copies = true
            $0.message = "first"
        }
        source.put("numbers.txt", edited)
        try run(3) {
            $0.copies = true
            $0.message = "one line edited"
            $0.tag = RefName("v1")
        }
        try run(4) { $0.branch = RefName("references") ?? .main }
    }

    @Test("the committed store is sound, and reads as it was written")
    func reads() throws {
        let objects = FileObjectStore(Self.directory)
        let report = try StoreCheck(
            objects,
            options: {
                var options = CheckOptions()
                options.readsData = false
                return options
            }()
        ).run()
        #expect(report.damages.map(\.object) == [] && report.snapshots == 3)
        let store = try Store.open(objects)
        func snapshot(_ name: String) throws -> Snapshot {
            try store.snapshot(try SnapshotReference("golden@\(name)"))
        }
        let first = try files(try snapshot("main~1"), of: store)
        #expect(first["numbers.txt"] == Self.numbers && first["dir/large.bin"] == Self.large)
        #expect(first["dir/noise"] == Self.noise && first["empty"] == [] && first.count == 4)
        let second = try snapshot("v1")
        #expect(try files(second, of: store)["numbers.txt"] == Self.edited)
        guard case .chunk(let file) = try second.entry(at: "numbers.txt").contents else {
            Issue.record("a small file is one chunk")
            return
        }
        #expect(file.entry.codec == .zstdPrefix)
        let references = try entries(try snapshot("references")).values.filter(\.isReference)
        #expect(references.count == 3)
    }

    @Test("the same commits write the same bytes")
    func writes() throws {
        let memory = MemoryObjectStore(clock: StillClock())
        try Self.write(to: memory)
        if getenv("KAML_WRITE_VECTORS") != nil { try Self.replace(with: memory) }
        let committed = FileObjectStore(Self.directory)
        let keys = try committed.list("").map(\.key)
        #expect(try memory.list("").map(\.key) == keys && keys.count > 10)
        for key in keys {
            let bytes = try memory.readAll(key, limit: 1 << 20)
            #expect(try committed.readAll(key, limit: 1 << 20) == bytes, "\(key)")
        }
    }

    private static func replace(with objects: MemoryObjectStore) throws {
        TemporaryDirectory.remove(directory)
        try HostFileSystem().makeDirectory(directory, mode: 0o755)
        let files = FileObjectStore(directory)
        for info in try objects.list("") {
            _ = try files.createIfAbsent(info.key, try objects.readAll(info.key, limit: 1 << 20))
        }
    }

    private struct StillClock: Clock {
        func now() -> Timestamp { Timestamp(seconds: 1_700_000_000, nanoseconds: 0) }
        func monotonicNanoseconds() -> UInt64 { 0 }
    }
}
