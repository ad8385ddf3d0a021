import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// A manifest: what was written is read back in place, found by name and by ordinal, and damage is noticed.
@Suite struct ManifestTests {
    let store = MemoryObjectStore()

    @Test("every entry is found by name and by ordinal, with all its fields", arguments: [1, 7, 42])
    func roundTrip(seed: UInt64) throws {
        let entries = try Self.tree(seed: seed, directories: 60, store)
        let snapshot = try write(entries)
        #expect(snapshot.statistics.entries == UInt64(entries.count))
        for (ordinal, entry) in entries.enumerated() {
            let place = try #require(try snapshot.place(ofOrdinal: UInt64(ordinal)))
            #expect(place.shard.pointee.view.entry(place.index) == entry)
            let found = try Self.find(snapshot, entry.directory, entry.name)
            #expect(found?.ordinal == UInt64(ordinal))
        }
        #expect(try snapshot.place(ofOrdinal: UInt64(entries.count)) == nil)
        for entry in entries {
            #expect(
                try Self.find(snapshot, entry.directory, ByteString(entry.name.bytes + [0x7E, 0x7E])) == nil)
            #expect(try Self.find(snapshot, ByteString(entry.keyPath.bytes + [0, 0x41]), "nothing") == nil)
        }
    }

    @Test("a directory's children are one run, also across shards")
    func children() throws {
        var entries = [Self.directory("", "")]
        entries += (0..<40_000).map { Self.file("", Self.name($0)) }
        entries += (0..<30_000).map { Self.file("m0000001", Self.name($0)) }
        entries[2] = Self.directory("", "m0000001")
        let snapshot = try write(entries)
        #expect(snapshot.root.shardCount > 1)
        let run = try Array("m0000001".utf8).withUnsafeBytes { try snapshot.children(of: $0) }
        #expect(run == 40_001..<70_001)
    }

    @Test("a changed value rewrites one shard and keeps the others")
    func unchangedShardsAreShared() throws {
        var entries = [Self.directory("", "")] + (0..<100_000).map { Self.file("", Self.name($0)) }
        let first = try write(entries)
        entries[50_000].modified.seconds += 1
        let before = try store.list("").count
        let second = try write(entries, parent: first)
        let shared = Set((0..<first.root.shardCount).map { first.root.shard($0).id })
        let changed = (0..<second.root.shardCount).filter { !shared.contains(second.root.shard($0).id) }
        #expect(changed.count == 1)
        #expect(try store.list("").count == before + 2, "one shard and the root")
        #expect(second.id != first.id)
    }

    @Test("a shard is stored as a difference from the parent's, one deep, over generations")
    func prefixShards() throws {
        var entries = [Self.directory("", "")] + (0..<20_000).map { Self.file("", Self.name($0)) }
        var parent: Snapshot?
        var sizes: [UInt64] = []
        for generation in 0..<4 {
            for index in stride(from: 10 + generation, to: entries.count, by: 500) {
                entries[index].modified.seconds += 7
            }
            let result = try result(entries, parent: parent)
            sizes.append(result.storedLength)
            let snapshot = try open(result.snapshot)
            try snapshot.forEachEntry { ordinal, view, index in
                #expect(view.entry(index) == entries[Int(ordinal)])
            }
            parent = snapshot
        }
        for size in sizes.dropFirst() { #expect(size * 5 < sizes[0]) }
    }

    @Test("names that no file can have, and entries out of order, are refused")
    func badNames() throws {
        for name: ByteString in [
            ".", "..", "a/b", ByteString([0x61, 0]), ByteString([UInt8](repeating: 0x61, count: 256)),
        ] {
            #expect(throws: StoreError.self, "\(name)") {
                try write([Self.directory("", ""), Self.file("", name)])
            }
        }
        #expect(throws: StoreError.self) { try write([Self.file("", "a")]) }
        let twice = [Self.directory("", ""), Self.file("", "a"), Self.file("", "a")]
        #expect(throws: StoreError.self) { try write(twice) }
    }

    @Test("a shard also ends by its bytes, and attributes that cannot be stored name their file")
    func shardBytes() throws {
        let value = [UInt8](repeating: 7, count: 64 << 10)
        var entries = [Self.directory("", "")]
        for index in 0..<100 {
            var entry = Self.file("", Self.name(index))
            entry.attributes = (0..<8).map { ExtendedAttribute(name: ByteString("user.\($0)"), value: value) }
            entries.append(entry)
        }
        let snapshot = try write(entries)
        #expect(snapshot.root.shardCount == 2)
        try snapshot.forEachEntry { ordinal, view, index in
            #expect(view.entry(index) == entries[Int(ordinal)])
        }
        for attributes in [
            [ExtendedAttribute(name: "user.long", value: value + [1])],
            (0..<9_000).map { ExtendedAttribute(name: ByteString("user.\($0)"), value: []) },
            (0..<300).map { ExtendedAttribute(name: ByteString("user.\($0)"), value: value) },
        ] {
            var entry = Self.file("", "guilty")
            entry.attributes = attributes
            let error = #expect(throws: StoreError.self) { try write([Self.directory("", ""), entry]) }
            #expect(error?.path == "guilty")
        }
    }

    @Test("an image that is there already is made durable before it is named")
    func existingImageIsDurable() throws {
        let directory = try TemporaryDirectory()
        let image: [UInt8] = Array("image".utf8)
        var encoder = FrameEncoder(level: 1)
        let first = ManifestObjects(store: FileObjectStore(directory.path))
        _ = try first.put(.manifestShard, image, encoder: &encoder)
        let faulty = FaultyFileSystem()
        let second = ManifestObjects(store: FileObjectStore(directory.path, files: faulty))
        #expect(try second.put(.manifestShard, image, encoder: &encoder).storedLength == 0)
        #expect(faulty.count(.sync) > 0)
        faulty.always(.sync, .inputOutput)
        #expect(throws: StoreError.self) { try second.put(.manifestShard, image, encoder: &encoder) }
    }

    @Test("what readers would refuse fails when it is written")
    func unreadableEntries() throws {
        var entry = Self.file("", "a")
        entry.mode = 0o120777
        entry.contents = .symlink(target: ByteString([UInt8](repeating: 0x61, count: 5_000)))
        #expect(throws: StoreError.self) { try write([Self.directory("", ""), entry]) }
        #expect(try store.list("").isEmpty)
    }

    @Test("NFC and NFD twins and invalid UTF-8 stay different names")
    func bytesAsNames() throws {
        let names = [
            ByteString([0x63, 0xCC, 0x81]), ByteString([0xC4, 0x87]), ByteString([0xFE]), ByteString([0xFF]),
        ]
        let entries = [Self.directory("", "")] + names.map { Self.file("", $0) }
        let snapshot = try write(entries)
        for (index, name) in names.enumerated() {
            #expect(try Self.find(snapshot, "", name)?.ordinal == UInt64(index + 1))
        }
    }

    @Test("one flipped bit anywhere in any manifest object is an error, never another answer")
    func flippedBits() throws {
        let snapshot = try write(try Self.tree(seed: 3, directories: 3, store))
        var ids = [(snapshot.id, ObjectKind.manifestRoot)]
        for index in 0..<snapshot.root.shardCount {
            ids.append((snapshot.root.shard(index).id, .manifestShard))
        }
        let objects = ManifestObjects(store: store)
        for (id, kind) in ids {
            let key = ManifestFormat.key(of: id)
            let good = try store.readAll(key, limit: 1 << 24)
            let image = try objects.image(kind, id)
            for index in good.indices {
                var bad = good
                bad[index] ^= 1 << UInt8(index % 8)
                store.replace(key, with: bad)
                if let read = try? objects.image(kind, id) { #expect(read == image) }
            }
            for length in stride(from: 0, to: good.count, by: 7) {
                store.replace(key, with: Array(good[..<length]))
                #expect(throws: StoreError.self) { try objects.image(kind, id) }
            }
            store.replace(key, with: good)
        }
    }

    @Test("an envelope cannot make a reader allocate what its payload cannot hold")
    func lyingEnvelope() throws {
        let snapshot = try write([Self.directory("", ""), Self.file("", "a")])
        let objects = ManifestObjects(store: store)
        let shard = snapshot.root.shard(0)
        #expect(throws: StoreError.self) {
            try objects.image(.manifestShard, shard.id, length: shard.plainLength + 1)
        }
        _ = try objects.image(.manifestShard, shard.id, length: shard.plainLength)
        for (id, kind) in [(shard.id, ObjectKind.manifestShard), (snapshot.id, .manifestRoot)] {
            let key = ManifestFormat.key(of: id)
            var object = try store.readAll(key, limit: 1 << 20)
            PackTests.set(&object, at: 16, UInt64(object.count - 96) * 32_768 + 1)
            store.replace(key, with: object)
            let error = #expect(throws: StoreError.self) { try objects.image(kind, id) }
            #expect(error?.message.contains("too short for its plain length") == true)
        }
    }

    @Test("neighbouring holes count as one in a file's hash")
    func touchingHoles() throws {
        let hasher = FileHasher()
        hasher.addHole(300)
        var entry = Self.file("", "a")
        entry.size = 300
        entry.contents = .extents(
            hash: hasher.finish(),
            [
                .init(fileOffset: 0, length: 100, source: nil),
                .init(fileOffset: 100, length: 200, source: nil),
            ])
        var reader = FileReader(PackFooters(store), bases: PlainChunkCache())
        #expect(try reader.bytes(of: entry) == [UInt8](repeating: 0, count: 300))
    }

    @Test("a root where a shard is expected is refused, and the reverse")
    func kindsAreNotConfused() throws {
        let snapshot = try write([Self.directory("", ""), Self.file("", "a")])
        let objects = ManifestObjects(store: store)
        #expect(throws: StoreError.self) { try objects.image(.manifestShard, snapshot.id) }
        #expect(throws: StoreError.self) { try objects.image(.manifestRoot, snapshot.root.shard(0).id) }
    }

    @Test("shard images with scribbled fields are refused or read within bounds", arguments: 0..<4)
    func scribbledImages(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let entries = try Self.tree(seed: seed, directories: 4, store)
        let snapshot = try write(entries)
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
                for index in 0..<view.count { _ = view.entry(index) }
            }
        }
    }

    @Test("a hole with chunks, and bits in zero fields, are refused")
    func zeroFields() throws {
        var entry = Self.file("", "a")
        entry.size = 8192
        entry.contents = .extents(hash: .zero, [.init(fileOffset: 0, length: 8192, source: nil)])
        let snapshot = try write([Self.directory("", ""), entry])
        let id = snapshot.root.shard(0).id
        let image = try ManifestObjects(store: store).image(.manifestShard, id)
        let extent = 64 + 2 * 104 + 16
        for field in [10, 32, 63, 64 + 71, extent + 20, extent + 24, extent + 28, extent + 32] {
            var bad = image
            bad[field] = 1
            bad.withUnsafeBytes { bytes -> Void in
                #expect(throws: StoreError.self, "byte \(field)") { _ = try ShardView(bytes, id: id) }
            }
        }
        _ = try image.withUnsafeBytes { try ShardView($0, id: id) }
    }

    // MARK: -

    private func result(_ entries: [ManifestEntry], parent: Snapshot? = nil) throws -> ManifestWriter.Result {
        var writer = ManifestWriter(objects: ManifestObjects(store: store), parent: parent)
        for entry in entries { try writer.append(entry) }
        return try writer.finish()
    }

    @discardableResult
    private func write(_ entries: [ManifestEntry], parent: Snapshot? = nil) throws -> Snapshot {
        try open(try result(entries, parent: parent).snapshot)
    }

    private func open(_ id: ContentHash) throws -> Snapshot {
        try Snapshot(id, from: StoreManifestSource(objects: ManifestObjects(store: store)))
    }

    private static func find(
        _ snapshot: Snapshot, _ directory: ByteString, _ name: ByteString
    ) throws -> Snapshot.Place? {
        try directory.bytes.withUnsafeBytes { directory in
            try name.bytes.withUnsafeBytes { try snapshot.place(directory: directory, name: $0) }
        }
    }

    static func name(_ index: Int) -> ByteString {
        let digits = String(index)
        return ByteString("m" + String(repeating: "0", count: 7 - digits.count) + digits)
    }

    static func directory(_ parent: ByteString, _ name: ByteString) -> ManifestEntry {
        ManifestEntry(
            directory: parent, name: name, mode: 0o040755, userID: 0, groupID: 0,
            modified: Timestamp(seconds: 1_700_000_000, nanoseconds: 5), size: 0, contents: .directory)
    }

    static func file(_ parent: ByteString, _ name: ByteString) -> ManifestEntry {
        ManifestEntry(
            directory: parent, name: name, mode: 0o100644, userID: 1000, groupID: 1000,
            modified: Timestamp(seconds: -1, nanoseconds: 999_999_999), size: 0, contents: .empty)
    }

    /// A random tree with every kind of entry, in sort order.
    static func tree(seed: UInt64, directories: Int, _ store: any ObjectStore) throws -> [ManifestEntry] {
        var random = SplitMix64(seed: seed)
        let (pack, chunks) = try PackTests.write((1...20).map { random.bytes($0 * 100) }, to: store)
        let (large, parts) = try PackTests.write(
            [random.bytes(5000), random.bytes(6000)], to: store, layout: .file)
        var paths: [ByteString] = [""]
        var entries: [ManifestEntry] = [directory("", "")]
        while paths.count < directories {
            let parent = paths[Int.random(in: 0..<paths.count, using: &random)]
            let name = ByteString(random.bytes(Int.random(in: 1...12, using: &random)).map { $0 | 0x80 })
            let path = ManifestEntry.keyPath(directory: parent, name: name)
            if path.count > 2000 || paths.contains(path) { continue }
            paths.append(path)
            entries.append(directory(parent, name))
        }
        for path in paths {
            for number in 0..<Int.random(in: 0..<30, using: &random) {
                var entry = file(path, ByteString("f\(number)"))
                switch Int.random(in: 0..<6, using: &random) {
                case 0: break
                case 1:
                    entry.mode = 0o120777
                    entry.contents = .symlink(target: ByteString(random.bytes(9)))
                    entry.size = 9
                case 2:
                    entry.size = 11_000 + 4096
                    entry.contents = .extents(
                        hash: parts[0].hash,
                        [
                            .init(fileOffset: 0, length: 4096, source: nil),
                            .init(
                                fileOffset: 4096, length: 11_000,
                                source: .init(pack: large, firstChunk: 0, chunkCount: 2, containerOffset: 0)),
                        ])
                case 3: entry.attributes = [ExtendedAttribute(name: "user.k", value: random.bytes(20))]
                default:
                    let index = Int.random(in: 0..<chunks.count, using: &random)
                    entry.size = UInt64(chunks[index].plainLength)
                    entry.contents = .chunk(.init(pack: pack, chunk: UInt32(index), entry: chunks[index]))
                }
                entries.append(entry)
            }
        }
        return entries.sorted { ($0.directory, $0.name) < ($1.directory, $1.name) }
    }
}
