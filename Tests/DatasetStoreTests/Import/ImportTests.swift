import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// An import: the objects of a bucket as a snapshot, with nothing read but the listing.
@Suite struct ImportTests {
    @Test("a bucket becomes a snapshot by its listing alone, and reads as the bucket")
    func firstImport() throws {
        let fixture = try ImportFixture()
        var random = SplitMix64(seed: 1)
        let bucket: [ByteString: [UInt8]] = [
            "train/cat/1.jpg": random.bytes(4096), "train/cat/2.jpg": random.bytes(70_001),
            "train/dog.jpg": random.bytes(1), "train-labels.csv": random.bytes(1 << 20),
            "big.bin": random.bytes((3 << 20) + 1), "empty": [], "z/\u{e9}": random.bytes(12),
        ]
        for (key, bytes) in bucket { fixture.source.put(key, bytes) }
        let result = try fixture.runImport { $0.message = "as it is" }
        #expect(fixture.source.reads.isEmpty && fixture.source.listings == 1)
        #expect(result.listedObjects == 7 && result.newObjects == 6 && result.skipped.count == 0)
        #expect(result.statistics.files == 7 && result.statistics.directories == 4)
        #expect(try fixture.packCount == 2 && result.packs == 2)
        let snapshot = try fixture.store.snapshot(result.snapshot)
        #expect(try files(snapshot, of: fixture.store) == bucket)
        #expect(try fixture.check().damages.isEmpty)
    }

    @Test("entries have the modes, owners and times that the import says")
    func attributes() throws {
        let fixture = try ImportFixture()
        fixture.source.put("d/old", [1], modified: Timestamp(seconds: 10, nanoseconds: 5))
        fixture.source.put("d/e/new", [1], modified: Timestamp(seconds: 20, nanoseconds: 0))
        fixture.source.put("top", [1], modified: Timestamp(seconds: 15, nanoseconds: 0))
        let result = try fixture.runImport {
            $0.fileMode = 0o440
            $0.directoryMode = 0o550
            $0.userID = 7
            $0.groupID = 8
        }
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(found["d/old"]?.mode == 0o100440 && found["d"]?.mode == 0o040550)
        #expect(found.values.allSatisfy { $0.userID == 7 && $0.groupID == 8 && $0.linkCount == 1 })
        #expect(found["d/old"]?.modified == Timestamp(seconds: 10, nanoseconds: 5))
        // A directory is as old as the newest object below it.
        #expect(found["d"]?.modified.seconds == 20 && found["d/e"]?.modified.seconds == 20)
    }

    @Test("many small objects share packs; a large one has its own, which is the object byte for byte")
    func packs() throws {
        let fixture = try ImportFixture()
        for index in 0..<5000 { fixture.source.put(ByteString("f\(index)"), [1, 2, 3]) }
        fixture.source.put("large", [UInt8](repeating: 1, count: (1 << 20) + 1))
        let result = try fixture.runImport()
        #expect(result.packs == 3)
        let snapshot = try fixture.store.snapshot(result.snapshot)
        guard case .extents(_, let extents) = try snapshot.entry(at: "large").contents else {
            Issue.record("a large object is a file of extents")
            return
        }
        let source = try #require(extents.first?.source)
        #expect(extents.count == 1 && source.containerOffset == 0)
        #expect(source.pack.containerSize == (1 << 20) + 1 && source.pack.layout == .file)
    }

    @Test("importing again makes no new commit when nothing changed, and stores nothing")
    func nothingChanged() throws {
        let fixture = try ImportFixture()
        fixture.put("a/b", "a/c", "d")
        fixture.source.put("large", [UInt8](repeating: 1, count: 2 << 20))
        fixture.source.put("bad//key", [1])
        let first = try fixture.runImport()
        let before = try fixture.objects.list("")
        let second = try fixture.runImport()
        #expect(second.nothingChanged && second.snapshot == first.snapshot)
        #expect(second.reusedObjects == 4 && second.newObjects == 0 && second.storedBytes == 0)
        #expect(second.skipped.count == 1)
        #expect(try fixture.objects.list("") == before)
        #expect(fixture.source.reads.isEmpty)
    }

    @Test("importing again refers anew only to what is new or changed, and drops what is gone")
    func importAgain() throws {
        let fixture = try ImportFixture()
        fixture.put("a/keep", "a/change", "a/delete", "b/keep")
        fixture.source.put("large", [UInt8](repeating: 1, count: 2 << 20))
        let first = try fixture.runImport()
        fixture.source.put("a/change", [9, 9])
        fixture.source.put("a/new", [8])
        fixture.source.delete("a/delete")
        let second = try fixture.runImport()
        #expect(second.newObjects == 2 && second.newBytes == 3 && second.reusedObjects == 3)
        #expect(second.packs == 1 && second.parent == first.snapshot)
        let found = try files(try fixture.store.snapshot(second.snapshot), of: fixture.store)
        #expect(found["a/change"] == [9, 9] && found["a/new"] == [8] && found["a/delete"] == nil)
        #expect(found["a/keep"] == Array("a/keep".utf8) + [0] && found.count == 5)
        var changes: [ByteString: SnapshotChange] = [:]
        _ = try SnapshotDiff(
            from: fixture.store.snapshot(first.snapshot), to: fixture.store.snapshot(second.snapshot)
        ).run { changes[$0.path] = $0 }
        #expect(
            changes.mapValues(\.kind) == [
                "a/change": .modified, "a/new": .added, "a/delete": .removed,
            ])
        #expect(changes["a/new"]?.new != nil && changes["a/new"]?.new?.hash == nil)
        #expect(try fixture.check(readsData: false).damages.isEmpty)
    }

    @Test(
        "a snapshot of before fails where an object changed, with its name and what to do, and nowhere else")
    func changedObject() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b")
        let first = try fixture.store.snapshot(try fixture.runImport().snapshot)
        fixture.source.put("a", [9])
        var reader = FileReader(fixture.store)
        #expect(try reader.bytes(of: first.entry(at: "b")) == Array("b".utf8) + [0])
        let error = #expect(throws: StoreError.self) { try reader.bytes(of: first.entry(at: "a")) }
        #expect(error?.code == .sourceChanged)
        #expect(error?.description.contains("a in memory://bucket/") == true)
        #expect(error?.description.contains("kaml import") == true)
    }

    @Test("in a bucket that keeps versions the old snapshot stays readable")
    func oldVersion() throws {
        let fixture = try ImportFixture(keepsVersions: true)
        fixture.source.put("a", [1])
        let first = try fixture.runImport()
        fixture.source.put("a", [2, 2])
        let second = try fixture.runImport()
        let old = try files(try fixture.store.snapshot(first.snapshot), of: fixture.store)
        let new = try files(try fixture.store.snapshot(second.snapshot), of: fixture.store)
        #expect(old == ["a": [1]] && new == ["a": [2, 2]])
    }

    @Test("the tag is made with the commit, may be named again, and never moves")
    func tag() throws {
        let fixture = try ImportFixture()
        fixture.put("a")
        let first = try fixture.runImport { $0.tag = RefName("v1") }
        _ = try fixture.runImport { $0.tag = RefName("v1") }
        let name = try SnapshotReference("data@v1")
        #expect(try fixture.store.resolve(name).snapshot == first.snapshot)
        fixture.put("b")
        let second = try fixture.runImport()
        let error = #expect(throws: StoreError.self) { try fixture.runImport { $0.tag = RefName("v1") } }
        #expect(error?.code == .conflict && second.snapshot != first.snapshot)
        #expect(try fixture.store.resolve(name).snapshot == first.snapshot)
    }

    @Test("another branch takes over the references of the dataset's newest snapshot")
    func otherBranch() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b")
        let first = try fixture.runImport()
        let second = try fixture.runImport { $0.branch = RefName("other") ?? .main }
        #expect(second.snapshot == first.snapshot && second.reusedObjects == 2 && !second.nothingChanged)
    }

    @Test("a listing that tells nothing empties no branch unless that is asked for")
    func emptied() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b/c")
        let first = try fixture.runImport()
        for key in ["a", "b/c"] as [ByteString] { fixture.source.delete(key) }
        let error = #expect(throws: StoreError.self) { try fixture.runImport() }
        #expect(error?.code == .invalidInput)
        #expect(error?.description.contains("--allow-empty") == true)
        let second = try fixture.runImport { $0.allowsEmpty = true }
        #expect(second.snapshot != first.snapshot && second.statistics.files == 0)
        #expect(try fixture.runImport().nothingChanged)
    }

    @Test("an empty bucket is an empty snapshot")
    func emptyBucket() throws {
        let fixture = try ImportFixture()
        let result = try fixture.runImport()
        #expect(result.statistics.files == 0 && result.statistics.entries == 1)
    }

    @Test("damage to a reference pack is found, with the files that it hurts")
    func damagedPack() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b")
        try fixture.runImport()
        let key = try #require(try fixture.objects.list("packs/").first?.key)
        var bytes = try fixture.objects.readAll(key, limit: 1 << 20)
        bytes[bytes.count / 2] ^= 1
        fixture.objects.replace(key, with: bytes)
        let report = try fixture.check()
        #expect(report.damages.map(\.object) == [key.text])
        #expect(report.damages.first?.impact.pathCount == 2)
    }

    @Test("a check that reads data tells which imported objects are no longer what they were")
    func checkOfChangedObjects() throws {
        let fixture = try ImportFixture()
        fixture.put("a", "b", "c")
        try fixture.runImport()
        let sound = try fixture.check()
        #expect(sound.isSound && sound.referencedBytes == 6 && sound.dataBytes == 0)
        fixture.source.put("b", [9])
        let report = try fixture.check()
        #expect(report.damages.map(\.problem.word) == ["changed"])
        #expect(report.damages.first?.problem.description.contains("b in memory://bucket/") == true)
        #expect(report.damages.first?.impact.paths == ["b"] && report.damages.first?.chunks == [1])
        #expect(try fixture.check(readsData: false).isSound)
    }

    @Test("statistics show referenced bytes apart from stored ones")
    func statistics() throws {
        let fixture = try ImportFixture()
        fixture.source.put("a", [UInt8](repeating: 1, count: 1000))
        fixture.source.put("b", [UInt8](repeating: 1, count: 2 << 20))
        try fixture.runImport()
        let total = try StoreStatistics.gather(fixture.store).total
        #expect(total.referencedBytes == 1000 + (2 << 20))
        #expect(total.uniqueBytes == 0 && total.referencePacks == 2 && total.packs == 2)
        #expect(total.dedupRatio == 1)
    }

    @Test("a pack that cannot be stored fails the import, and nothing becomes visible")
    func storeFails() throws {
        let source = MemoryObjectSource()
        for index in 0..<10 { source.put(ByteString("f\(index)"), [UInt8](repeating: 1, count: 2 << 20)) }
        let objects = MemoryObjectStore()
        _ = try Store.create(at: objects)
        let faulty = FaultyObjectStore(objects)
        let store = try Store.open(faulty)
        faulty.on(.create, 3, .fails(.noSpace))
        let dataset = try #require(DatasetName("data"))
        let error = #expect(throws: StoreError.self) {
            try store.importObjects(ImportOptions(dataset: dataset, source: source))
        }
        #expect(error?.code == .noSpace)
        #expect(try store.state().datasets.isEmpty)
    }
}
