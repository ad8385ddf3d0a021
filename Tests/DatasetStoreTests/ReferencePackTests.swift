import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// A reference pack: a footer alone, whose chunks lie in objects of somebody else's.
@Suite struct ReferencePackTests {
    let store = MemoryObjectStore()

    static let location = "s3://bucket/prefix/"

    static func object(
        _ key: ByteString, _ size: UInt64, tag: String = "d41d8cd9", id: String? = nil
    ) -> ReferencedObject {
        ReferencedObject(key: key, size: size, version: ObjectVersion(tag: tag, id: id))
    }

    static let objects = [
        object("a.jpg", 1), object("b/\u{1}ü.jpg", 4096, tag: "\"weird\"-2", id: "null"),
        object(ByteString([0xFF, 0xFE]), 70_000, id: "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"),
    ]

    static func slots(_ objects: [ReferencedObject], id: PackID = PackID(high: 1, low: 2))
        -> ReferencePackBuilder
    {
        var builder = ReferencePackBuilder(id: id, layout: .slots, location: location)
        for object in objects { _ = builder.append(object) }
        return builder
    }

    @Test("small objects lie side by side in slots, and the footer says where their bytes are")
    func smallObjects() throws {
        let pack = try Self.slots(Self.objects).publish(in: store)
        #expect(pack.holdsReferences && pack.isWithinLimits && pack.layout == .slots)
        #expect(pack.containerSize == 8192 + 70_000)
        try PackFooters(store).with(pack) { footer throws(StoreError) in
            #expect(footer.sources?.location == Self.location)
            #expect(footer.sources?.count == 3 && footer.chunkCount == 3)
            for (index, object) in Self.objects.enumerated() {
                #expect(footer.sources?[index] == object)
                #expect(footer[index].codec == .reference && footer[index].hash == .zero)
                #expect(footer[index].needsFooter && footer[index].base == nil)
                #expect(footer[index].containerOffset == UInt64(index) * 4096)
                let place = footer.referenced(index)
                #expect(place?.object == index && place?.range == 0..<object.size)
            }
        }
    }

    @Test("a large object's container is the object, byte for byte")
    func largeObject() throws {
        let object = Self.object("big", (2 << 20) + 5)
        var builder = ReferencePackBuilder(
            id: PackID(high: 3, low: 4), layout: .file, location: Self.location)
        builder.append(object, part: 0..<object.size, chunkLength: 1 << 20)
        let pack = try builder.publish(in: store)
        #expect(pack.containerSize == object.size && pack.chunkCount == 3)
        try PackFooters(store).with(pack) { footer throws(StoreError) in
            for index in 0..<3 {
                let start = UInt64(index) << 20
                #expect(footer[index].containerOffset == start)
                #expect(footer.referenced(index)?.range == start..<min(object.size, start + (1 << 20)))
            }
        }
    }

    @Test("an object beyond what a container may be goes into several packs")
    func hugeObject() throws {
        let object = Self.object("huge", 40 << 30)
        var builder = ReferencePackBuilder(
            id: PackID(high: 3, low: 4), layout: .file, location: Self.location)
        builder.append(object, part: (16 << 30)..<(32 << 30), chunkLength: 1 << 20)
        let pack = try builder.publish(in: store)
        #expect(pack.containerSize == 16 << 30)
        try PackFooters(store).with(pack) { footer throws(StoreError) in
            #expect(footer.referenced(0)?.range == (16 << 30)..<((16 << 30) + (1 << 20)))
            #expect(footer[0].containerOffset == 0)
        }
        var whole = ReferencePackBuilder(
            id: PackID(high: 3, low: 5), layout: .file, location: Self.location)
        whole.append(object, part: 0..<(17 << 30), chunkLength: 1 << 20)
        #expect(throws: StoreError.self) { try whole.finish() }
    }

    @Test("the bytes are those of the format's first reader")
    func golden() throws {
        let (bytes, pack) = try Self.slots([Self.object("k", 5, tag: "t", id: "v")]).finish()
        let expected = """
            4b414d4c5041434b 0100 0000 00000000 00000000000000010000000000000002
            4b414d4c464f4f54 0100 0100 01000000 00000000 4e000000 0500000000000000 2000000000000000
            00000000000000010000000000000002 0000000000000000
            0000000000000000000000000000000000000000000000000000000000000000
            0000000000000000 0000000000000000 05000000 05000000 03 00 ffff 00000000
            01000000 16000000 13000000 0000000000000000000000000000000000000000
            0500000000000000 13000000 0100 0100 0100 0000 00000000
            73333a2f2f6275636b65742f7072656669782f 6b 74 76
            f1d7b3dffbecd3f98a743a115826c81b06b6a349e1bdcc41b6350ce2d8d7c59a fe000000 00000000 4b414d4c50454e44
            """.filter { !$0.isWhitespace }
        #expect(Hex.encode(bytes) == expected && pack.objectSize == UInt64(bytes.count))
        // SHA-256 of the bytes that StoreFormat lists, made by another program.
        #expect(
            Self.object("k", 5, tag: "t", id: "v").identity(at: Self.location).hex
                == "98228dc426706a7ee1d89d8bd6bd814bd2758ff5e20ed52cfcd6649fe2a56e94")
    }

    @Test("a footer with any bit flipped, or cut short, is refused")
    func damagedFooter() throws {
        let (object, pack) = try Self.slots(Self.objects).finish()
        var bytes = Array(object[32...])
        func refused() {
            bytes.withUnsafeBytes { bytes -> Void in
                #expect(throws: StoreError.self) { _ = try PackFooter(bytes, of: pack) }
            }
        }
        for index in bytes.indices {
            for bit in 0..<8 {
                bytes[index] ^= 1 << UInt8(bit)
                refused()
                bytes[index] ^= 1 << UInt8(bit)
            }
        }
        while bytes.popLast() != nil { refused() }
    }

    /// Where a field lies in the footer of `slots(objects)`.
    private enum Field {
        static let sourceTableLength = 20
        static func chunk(_ index: Int) -> Int { 64 + 64 * index }
        static let table = 64 + 64 * 3
        static func object(_ index: Int) -> Int { table + 32 + 24 * index }
    }

    @Test("a footer that hashes well but lies is refused, whatever field it lies in")
    func lyingFooter() throws {
        let lies: [(String, Int, [UInt8])] = [
            ("table length", Field.sourceTableLength, [0, 0, 0, 0]),
            ("table length", Field.sourceTableLength, [1, 0, 0, 0]),
            ("object offset", Field.chunk(1) + 32, [1]), ("stored length", Field.chunk(1) + 48, [1, 0]),
            ("container offset", Field.chunk(1) + 40, [1]), ("plain length", Field.chunk(1) + 52, [1, 0]),
            ("codec none", Field.chunk(1) + 56, [0]), ("prefix codec", Field.chunk(1) + 56, [2]),
            ("unknown codec", Field.chunk(1) + 56, [4]), ("zero byte", Field.chunk(1) + 57, [1]),
            ("base pack", Field.chunk(1) + 58, [0, 0]), ("no object", Field.chunk(1) + 60, [3]),
            ("object order", Field.chunk(0) + 60, [2]), ("object count", Field.table, [2]),
            ("object count", Field.table, [0xFF, 0xFF, 0xFF, 0xFF]), ("blob length", Field.table + 4, [0]),
            ("location length", Field.table + 8, [0]), ("location length", Field.table + 8, [0xFF, 0xFF]),
            ("zero field", Field.table + 12, [1]), ("size", Field.object(1), [0xFF, 0x0F]),
            ("no size", Field.object(0), [0]), ("size", Field.object(1) + 7, [0x80]),
            ("blob offset", Field.object(1) + 8, [0xFF, 0xFF]), ("no key", Field.object(1) + 12, [0, 0]),
            ("key length", Field.object(1) + 12, [0xFF, 0xFF]), ("no tag", Field.object(1) + 14, [0, 0]),
            ("tag length", Field.object(1) + 14, [0x01, 0x04]),
            ("id length", Field.object(1) + 16, [0x01, 0x04]), ("zero field", Field.object(1) + 18, [1]),
            ("zero field", Field.object(1) + 20, [1]),
            ("location that is not UTF-8", Field.object(3), [0xFF]),
        ]
        let (object, pack) = try Self.slots(Self.objects).finish()
        for (what, offset, value) in lies {
            var body = Array(object[32..<(object.count - 48)])
            body.replaceSubrange(offset..<(offset + value.count), with: value)
            try Self.expectRefused(body, object, pack, what)
        }
    }

    private static func expectRefused(
        _ body: [UInt8], _ object: [UInt8], _ pack: PackReference, _ what: String
    ) throws {
        var lying = pack
        lying.footerHash = ContentHash.of(.packFooter, body)
        let bytes = body + lying.footerHash.bytes + Array(object[(object.count - 16)...])
        bytes.withUnsafeBytes { bytes -> Void in
            let error = #expect(throws: StoreError.self, "\(what)") { _ = try PackFooter(bytes, of: lying) }
            #expect(error?.code == (what == "unknown codec" ? .unsupported : .damaged), "\(what)")
        }
    }

    @Test("a pack of frames has no source table, and a reference pack nothing else")
    func mixed() throws {
        let (pack, _) = try PackTests.write([[1, 2, 3]], to: store)
        #expect(!pack.holdsReferences)
        let object = try store.readAll(pack.key, limit: 1 << 20)
        var body = Array(object[(object.count - Int(pack.footerLength))..<(object.count - 48)])
        body[64 + 56] = 3
        try Self.expectRefused(body, object, pack, "a reference among frames")
    }

    @Test(
        "what a source table cannot hold is refused before it is written",
        arguments: [
            ReferencedObject(key: "", size: 1, version: .init(tag: "t")),
            ReferencedObject(
                key: ByteString([UInt8](repeating: 97, count: 4097)), size: 1, version: .init(tag: "t")),
            ReferencedObject(key: "k", size: 0, version: .init(tag: "t")),
            ReferencedObject(key: "k", size: 1 << 63, version: .init(tag: "t")),
            ReferencedObject(key: "k", size: 1, version: .init(tag: "")),
            ReferencedObject(key: "k", size: 1, version: .init(tag: String(repeating: "t", count: 1025))),
            ReferencedObject(key: "k", size: 1, version: .init(tag: "t", id: "")),
        ])
    func objectLimits(_ object: ReferencedObject) { #expect(!object.isWithinLimits) }

    @Test("a location beyond the limit makes no pack")
    func locationLimit() throws {
        var builder = ReferencePackBuilder(
            id: PackID(high: 1, low: 1), layout: .slots, location: String(repeating: "x", count: 4097))
        _ = builder.append(Self.objects[0])
        #expect(throws: StoreError.self) { try builder.finish() }
    }

    // MARK: - In a manifest

    /// A snapshot of one small and one large file, with its store.
    private func imported(
        _ source: MemoryObjectSource, _ large: [UInt8], _ small: [UInt8], lying: ReferencedObject? = nil
    ) throws -> Snapshot {
        source.put("large", large)
        source.put("small", small)
        var objects: [ByteString: ReferencedObject] = [:]
        try source.list { object throws(ObjectStoreError) in
            objects[object.key] = ReferencedObject(object)
            return true
        }
        let (first, second) = (try #require(objects["large"]), try #require(objects["small"]))
        var file = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .file, location: source.location)
        file.append(first, part: 0..<first.size, chunkLength: 1 << 20)
        let filePack = try file.publish(in: store)
        var slots = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .slots, location: source.location)
        let (chunk, entry) = slots.append(second)
        let slotsPack = try slots.publish(in: store)
        var largeEntry = ManifestTests.file("", "large")
        largeEntry.size = first.size
        largeEntry.contents = .extents(
            hash: (lying ?? first).identity(at: source.location),
            [
                .init(
                    fileOffset: 0, length: first.size,
                    source: .init(
                        pack: filePack, firstChunk: 0, chunkCount: filePack.chunkCount, containerOffset: 0))
            ])
        var smallEntry = ManifestTests.file("", "small")
        smallEntry.size = second.size
        smallEntry.contents = .chunk(
            .init(
                pack: slotsPack, chunk: chunk, entry: entry, identity: second.identity(at: source.location)))
        let objectsOfStore = ManifestObjects(store: store)
        var writer = ManifestWriter(objects: objectsOfStore, parent: nil)
        for entry in [ManifestTests.directory("", ""), largeEntry, smallEntry] { try writer.append(entry) }
        return try Snapshot(try writer.finish().snapshot, from: StoreManifestSource(objects: objectsOfStore))
    }

    private func reader(_ source: MemoryObjectSource) -> FileReader {
        FileReader(PackFooters(store, sources: KnownSources(source)), bases: PlainChunkCache())
    }

    @Test("files read through their references, in requests of many chunks")
    func reading() throws {
        var random = SplitMix64(seed: 7)
        let (large, small) = (random.bytes((3 << 20) + 17), random.bytes(5000))
        let source = MemoryObjectSource()
        let snapshot = try imported(source, large, small)
        var reader = reader(source)
        let entries = [try snapshot.entry(at: "large"), try snapshot.entry(at: "small")]
        #expect(try reader.bytes(of: entries[0]) == large)
        #expect(try reader.bytes(of: entries[1]) == small)
        #expect(entries[0].isReference && entries[1].isReference)
        #expect(source.reads.map(\.range) == [0..<UInt64(large.count), 0..<5000])
    }

    @Test("an object that changed fails the read, by its name and with what to do; an old version is read")
    func changedObject() throws {
        for keepsVersions in [false, true] {
            let source = MemoryObjectSource(keepsVersions: keepsVersions)
            let snapshot = try imported(source, [UInt8](repeating: 1, count: 2 << 20), [1, 2, 3])
            source.put("small", [4, 5, 6])
            var reader = reader(source)
            let entry = try snapshot.entry(at: "small")
            if keepsVersions {
                #expect(try reader.bytes(of: entry) == [1, 2, 3])
                continue
            }
            let error = #expect(throws: StoreError.self) { try reader.bytes(of: entry) }
            #expect(error?.code == .sourceChanged && error?.path == "small")
            #expect(error?.object == "small in memory://bucket/")
            #expect(error?.remedy?.contains("kaml import") == true)
            source.delete("large")
            let gone = #expect(throws: StoreError.self) {
                try reader.bytes(of: snapshot.entry(at: "large"))
            }
            #expect(gone?.code == .sourceChanged && gone?.message.contains("no longer there") == true)
        }
    }

    @Test("without its source a program says that it cannot read imported data")
    func noSource() throws {
        let source = MemoryObjectSource()
        let snapshot = try imported(source, [UInt8](repeating: 1, count: 2 << 20), [1])
        var reader = FileReader(PackFooters(store), bases: PlainChunkCache())
        let error = #expect(throws: StoreError.self) { try reader.bytes(of: snapshot.entry(at: "small")) }
        #expect(error?.code == .unsupported)
    }

    @Test("shard images of references with scribbled fields are refused or read within bounds")
    func scribbledShard() throws {
        var random = SplitMix64(seed: 3)
        let snapshot = try imported(
            MemoryObjectSource(), [UInt8](repeating: 1, count: 2 << 20), [1, 2, 3])
        let id = snapshot.root.shard(0).id
        let image = try ManifestObjects(store: store).image(.manifestShard, id)
        for _ in 0..<4000 {
            var bad = image
            let position = Int.random(in: 0..<bad.count, using: &random)
            for offset in position..<min(bad.count, position + 4) {
                bad[offset] = UInt8(truncatingIfNeeded: random.next())
            }
            bad.withUnsafeBytes { bytes in
                guard let view = try? ShardView(bytes, id: id) else { return }
                for index in 0..<view.count { _ = (view.entry(index), view.isReference(view.record(index))) }
            }
        }
    }

    @Test(
        "a record that calls its chunk otherwise than its pack is refused, and an unknown codec asks for a newer kaml"
    )
    func lyingRecord() throws {
        let snapshot = try imported(
            MemoryObjectSource(), [UInt8](repeating: 1, count: 2 << 20), [1, 2, 3])
        let id = snapshot.root.shard(0).id
        var image = try ManifestObjects(store: store).image(.manifestShard, id)
        // The small file is the third record.
        let codec = 64 + 2 * 104 + 70
        #expect(image[codec] == 3)
        for (value, code) in [(UInt8(0), StoreError.Code.damaged), (2, .damaged), (4, .unsupported)] {
            image[codec] = value
            image.withUnsafeBytes { bytes -> Void in
                let error = #expect(throws: StoreError.self) { _ = try ShardView(bytes, id: id) }
                #expect(error?.code == code)
            }
        }
    }

    @Test("a check finds a record that means another object than its pack does")
    func lyingIdentity() throws {
        for lying in [nil, Self.object("other", 2 << 20)] {
            let test = ReferencePackTests()
            let made = try Store.create(at: test.store)
            let snapshot = try test.imported(
                MemoryObjectSource(), [UInt8](repeating: 1, count: 2 << 20), [1, 2, 3], lying: lying)
            let commit = Commit(
                dataset: try #require(DatasetName("data")), branch: .main, snapshot: snapshot.id, parent: nil)
            var state = try made.state()
            _ = try made.log.append(to: &state) { _ in .commit(commit) }
            let report = try StoreCheck(test.store).run()
            #expect(report.damages.map(\.problem.word) == (lying == nil ? [] : ["contradiction"]))
        }
    }
}
