import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

@Suite("Warming an imported snapshot of small objects")
struct WarmImportTests {
    let home: CacheFixture
    let objects = MemoryObjectStore()
    let source = MemoryObjectSource()
    let snapshot: ContentHash

    init() throws {
        home = try CacheFixture()
        var random = SplitMix64(seed: 5)
        for index in 0..<80 { source.put(ByteString("key\(1000 + index)"), random.bytes(2000)) }
        let store = try Store.create(at: objects)
        let name = try #require(DatasetName("data"))
        snapshot = try store.importObjects(ImportOptions(dataset: name, source: source)).snapshot
    }

    private func warm(_ source: any ObjectSource, threads: Int) throws -> WarmReport {
        let cache = try NodeCache(directory: home.directory, sources: KnownSources(source)) { _ in }
        defer { cache.close() }
        let manifests = cache.manifests(origin: ManifestObjects(store: objects))
        let plan = try WarmPlan(try Snapshot(snapshot, from: manifests))
        return try cache.warm(plan, origin: objects, threads: threads)
    }

    @Test("many objects are fetched side by side, whatever the number of ranges")
    func sideBySide() throws {
        let counting = LyingSource(source, delay: 5_000_000)
        let report = try warm(counting, threads: 1)
        #expect(report.isComplete && report.chunks == 80)
        #expect(report.fetchedBytes == 160_000)
        #expect(counting.mostAtOnce >= 8)
        #expect(source.reads.count == 80)
    }

    @Test("an object that is refused is told; the others come, and are counted")
    func oneRefused() throws {
        let report = try warm(RefusingSource(source) { $0 == "key1003" }, threads: 2)
        #expect(report.failureCount == 1)
        #expect(report.failures.first?.code == .permissionDenied)
        #expect(report.failures.first?.description.contains("key1003") == true)
        #expect(report.presentChunks == 79)
        #expect(report.fetchedBytes == 158_000)
    }

    @Test("when the first ones are all refused it ends")
    func allRefused() throws {
        let error = #expect(throws: CacheError.self) {
            try warm(RefusingSource(source) { _ in true }, threads: 1)
        }
        #expect(error?.code == .permissionDenied)
    }
}

/// A source that keeps some of its objects to itself.
private final class RefusingSource: ObjectSource {
    private let source: any ObjectSource
    private let refuses: @Sendable (ByteString) -> Bool

    init(_ source: any ObjectSource, refuses: @escaping @Sendable (ByteString) -> Bool) {
        self.source = source
        self.refuses = refuses
    }

    var location: String { source.location }

    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        try source.list(body)
    }

    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        if refuses(key) {
            throw ObjectStoreError(.permissionDenied, .read, key: key.description, location: location)
        }
        try source.read(key, version, range, body)
    }
}
