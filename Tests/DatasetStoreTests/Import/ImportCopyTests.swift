import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

/// `kaml import --copy`: a snapshot that needs the bucket no more.
@Suite struct ImportCopyTests {
    @Test("everything is read once, stored, and readable when the bucket is gone")
    func selfContained() throws {
        let fixture = try ImportFixture()
        var random = SplitMix64(seed: 1)
        var bucket: [ByteString: [UInt8]] = ["empty": [], "z/one": [7]]
        for index in 0..<200 { bucket[ByteString("d\(index % 7)/f\(index)")] = random.bytes(index * 37 + 1) }
        bucket["big.bin"] = random.bytes((5 << 20) + 3)
        bucket["big.jsonl"] = Array(
            (0..<60_000).map { "{\"line\": \($0), \"x\": \($0 &* 2_654_435_761)}\n" }.joined().utf8)
        for (key, bytes) in bucket { fixture.source.put(key, bytes) }
        let result = try fixture.runImport { $0.copies = true }
        #expect(result.newObjects == UInt64(bucket.count) && result.reusedObjects == 0)
        for key in bucket.keys { fixture.source.delete(key) }
        let alone = try Store.open(fixture.objects)
        let snapshot = try alone.snapshot(result.snapshot)
        #expect(try files(snapshot, of: alone) == bucket)
        #expect(try snapshot.entry(at: "big.bin").isReference == false)
        #expect(try fixture.check().isSound)
    }

    @Test("a file whose cuts follow its content is read in large requests, each byte once")
    func requests() throws {
        let fixture = try ImportFixture()
        let text = Array((0..<500_000).map { "line \($0) \($0 &* 2_654_435_761)\n" }.joined().utf8)
        fixture.source.put("big.jsonl", text)
        try fixture.runImport { $0.copies = true }
        let reads = fixture.source.reads.filter { $0.range.count > 1 << 20 }
        #expect(reads.reduce(0) { $0 + $1.range.count } <= text.count)
        #expect(reads.count <= text.count / (4 << 20) + 1)
    }

    @Test("copying again reads only objects of other versions, and nothing when all are as they were")
    func again() throws {
        let fixture = try ImportFixture()
        fixture.put("a/keep", "a/change", "b/keep")
        fixture.source.put("empty", [])
        fixture.source.put("large", [UInt8](repeating: 1, count: 2 << 20))
        let first = try fixture.runImport { $0.copies = true }
        let reads = fixture.source.reads.count
        let same = try fixture.runImport { $0.copies = true }
        #expect(same.nothingChanged && same.snapshot == first.snapshot)
        #expect(fixture.source.reads.count == reads && same.reusedObjects == 5)
        // The same size and time, other bytes: only the version tells.
        fixture.source.put("a/change", Array("A/CHANGE".utf8) + [0])
        let second = try fixture.runImport { $0.copies = true }
        #expect(second.newObjects == 1 && second.reusedObjects == 4)
        #expect(fixture.source.reads.dropFirst(reads).map(\.key) == ["a/change"])
        let found = try files(try fixture.store.snapshot(second.snapshot), of: fixture.store)
        #expect(found["a/change"] == Array("A/CHANGE".utf8) + [0] && found.count == 5)
    }

    @Test("references become copies, and what was copied stays stored when referred to again")
    func afterReferences() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b")
        let references = try fixture.runImport()
        let copies = try fixture.runImport { $0.copies = true }
        #expect(copies.snapshot != references.snapshot && copies.newObjects == 2)
        let snapshot = try fixture.store.snapshot(copies.snapshot)
        #expect(try entries(snapshot).values.allSatisfy { !$0.isReference })
        let again = try fixture.runImport()
        #expect(again.newObjects == 2)
    }

    @Test("an object that changes while it is copied is read again as it now is")
    func changesMeanwhile() throws {
        let source = ChangingSource(changes: 1)
        let fixture = try ImportFixture()
        let result = try fixture.runImport {
            $0.source = source
            $0.copies = true
        }
        let found = try files(try fixture.store.snapshot(result.snapshot), of: fixture.store)
        #expect(found["small"] == source.bytes("small") && found["large"] == source.bytes("large"))
        // Recorded as what was read: nothing is left to do.
        #expect(
            try fixture.runImport {
                $0.source = source
                $0.copies = true
            }.nothingChanged)
    }

    @Test("an object that never holds still fails the import, by its name")
    func changesForEver() throws {
        let fixture = try ImportFixture()
        let error = #expect(throws: StoreError.self) {
            try fixture.runImport {
                $0.source = ChangingSource(changes: 1000)
                $0.copies = true
            }
        }
        #expect(error?.code == .sourceChanged && error?.description.contains("small") == true)
        #expect(try fixture.store.state().datasets.isEmpty)
    }

    @Test("a source that goes away ends the import with its own words")
    func sourceGoesAway() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b", "c")
        fixture.source.failReads([.unavailable])
        let error = #expect(throws: StoreError.self) { try fixture.runImport { $0.copies = true } }
        #expect(error?.code == .unavailable && error?.description.contains("memory://bucket/") == true)
    }

    @Test("kaml's own attributes leave a store neither by export nor come in by commit")
    func reservedAttributes() throws {
        let fixture = try ImportFixture()
        fixture.put("a")
        let copied = try fixture.runImport { $0.copies = true }
        let target = try TemporaryDirectory()
        let snapshot = try fixture.store.snapshot(copied.snapshot)
        let kept = try snapshot.entry(at: "a").attributes
        #expect(kept.count == 1 && kept.allSatisfy(\.isReserved))
        _ = try SnapshotExport(
            snapshot, of: fixture.store,
            options: ExportOptions(target: target.path.appending("out"), restoresOwners: false)
        ).run()
        let file = try FileDescriptor.open(target.path.appending("out/a"), 0)
        #expect(try userAttributes(of: file).isEmpty)
    }
}

/// A source whose objects change under the reader, a number of times each.
private final class ChangingSource: ObjectSource {
    let location = "memory://changing/"
    private let source = MemoryObjectSource(location: "memory://changing/")
    private let left: Countdown

    init(changes: Int) {
        left = Countdown(changes)
        source.put("small", [0, 0, 0])
        source.put("large", [UInt8](repeating: 0, count: 3 << 20))
    }

    func bytes(_ key: ByteString) -> [UInt8] {
        key == "small"
            ? [UInt8(truncatingIfNeeded: left.taken(key)), 0, 0]
            : [UInt8](repeating: UInt8(truncatingIfNeeded: left.taken(key)), count: 3 << 20)
    }

    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        try source.list(body)
    }

    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        if left.take(key) { source.put(key, bytes(key)) }
        try source.read(key, version, range, body)
    }
}

/// Counts down by key.
private final class Countdown: Sendable {
    private let limit: Int
    private let counts = Mutex<[ByteString: Int]>([:])

    init(_ limit: Int) { self.limit = limit }

    func take(_ key: ByteString) -> Bool {
        counts.withLock { counts in
            guard counts[key, default: 0] < limit else { return false }
            counts[key, default: 0] += 1
            return true
        }
    }

    func taken(_ key: ByteString) -> Int { counts.withLock { $0[key, default: 0] } }
}
