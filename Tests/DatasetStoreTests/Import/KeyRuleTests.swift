import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// Which keys become which paths, and that whatever else a bucket holds is reported and harms nothing.
@Suite struct KeyRuleTests {
    private static func long(_ count: Int) -> ByteString {
        ByteString([UInt8](repeating: 0x61, count: count))
    }

    private static let impossibleKeys: [(ByteString, KeyProblem)] = [
        ("a//b", .emptySegment), ("/a", .emptySegment), ("a//", .emptySegment), ("//", .emptySegment),
        ("/", .emptySegment), (".", .dotSegment), ("..", .dotSegment), ("a/../b", .dotSegment),
        ("./a", .dotSegment), ("a/.", .dotSegment), ("a/..", .dotSegment),
        ("../../etc/passwd", .dotSegment), ("a/./", .dotSegment), ("a\0b", .zeroByte), ("\0", .zeroByte),
        ("\0/x", .zeroByte), (long(256), .nameTooLong),
        (ByteString(long(256).bytes + Array("/x".utf8)), .nameTooLong),
    ]

    @Test(
        "a key that cannot be a path is left out, with its reason; its neighbours are not hurt",
        arguments: impossibleKeys)
    func invalidKeys(_ key: ByteString, _ problem: KeyProblem) throws {
        let fixture = try ImportFixture()
        fixture.put("good", "zone/good")
        fixture.source.put(key, [1, 2])
        let result = try fixture.runImport()
        #expect(result.skipped.list.map(\.problem) == [problem])
        #expect(result.skipped.list.first?.keys.examples == [key])
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(Set(found.keys) == ["good", "zone", "zone/good"])
    }

    @Test(
        "a key whose parts are names is kept byte for byte",
        arguments: [
            "...", "..a", "a.", " ", "a b/c", "\n", "\u{1}\u{7f}", "\\", "a\\..\\b", "*", "nfc\u{e9}",
            "nfde\u{301}", ".hidden/.x", long(255), ByteString([0xFF, 0xFE, 0x80]), ByteString([0xC0, 0xAE]),
        ] as [ByteString])
    func validKeys(_ key: ByteString) throws {
        let fixture = try ImportFixture()
        fixture.source.put(key, [1, 2])
        let result = try fixture.runImport()
        let found = try files(try fixture.store.snapshot(result.snapshot), of: fixture.store)
        #expect(found == [key: [1, 2]] && result.skipped.count == 0)
    }

    @Test("a path at the limit is kept, one beyond it is left out")
    func longPaths() throws {
        let fixture = try ImportFixture()
        let parts = (0..<16).map { _ in Self.long(254).bytes }.joined(separator: [0x2F])
        let atLimit = ByteString(Array(parts) + Array("/123456789012345".utf8))
        #expect(atLimit.count == 4095)
        fixture.source.put(atLimit, [1])
        fixture.source.put(ByteString(atLimit.bytes + [0x61]), [1])
        let result = try fixture.runImport()
        #expect(result.skipped.list.map(\.problem) == [.pathTooLong])
        #expect(try fixture.store.snapshot(result.snapshot).entry(at: atLimit).size == 1)
    }

    @Test("keys with control characters are kept, and told")
    func controlCharacters() throws {
        let fixture = try ImportFixture()
        fixture.put("plain", "bell\u{7}", "new\nline/x")
        let result = try fixture.runImport()
        #expect(result.oddKeys.count == 2 && result.oddKeys.examples == ["bell\u{7}", "new\nline/x"])
        #expect(result.skipped.count == 0 && result.statistics.files == 3)
    }

    @Test("a marker makes its directory, also an empty one; a marker with bytes loses them, and is told")
    func markers() throws {
        let fixture = try ImportFixture()
        fixture.source.put("", [])
        fixture.source.put("empty/", [])
        fixture.source.put("full/", [1])
        fixture.source.put("full/x", [1])
        fixture.source.put("deep/er/", [])
        let result = try fixture.runImport()
        #expect(result.skipped.list.map(\.problem) == [.directoryWithBytes])
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(Set(found.keys) == ["empty", "full", "full/x", "deep", "deep/er"])
        #expect(found["empty"]?.contents == .directory && result.statistics.files == 1)
    }

    @Test("of an object and a directory of one name the directory stays")
    func shadowed() throws {
        let fixture = try ImportFixture()
        fixture.put("dir", "dir/x", "dir-b", "a/marked")
        fixture.source.put("a/marked/", [])
        let result = try fixture.runImport()
        #expect(result.skipped.list.map(\.problem) == [.shadowedByDirectory])
        #expect(Set(result.skipped.list.first?.keys.examples ?? []) == ["a/marked", "dir"])
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(found["dir"]?.contents == .directory && found["dir/x"]?.size == 6)
        #expect(found["dir-b"] != nil && found["a/marked"]?.contents == .directory)
    }

    @Test("a source that lists out of order or twice still gives a tree")
    func disorderlySource() throws {
        let listing = ["b/z", "a", "b/a", "b", "b/a", "c/d/e", "a"].enumerated().map { index, key in
            SourceObject(
                key: ByteString(key), size: UInt64(index + 1),
                modified: Timestamp(seconds: 1, nanoseconds: 0),
                version: ObjectVersion(tag: "t\(index)"))
        }
        let fixture = try ImportFixture()
        let result = try fixture.runImport { $0.source = ListedSource(listing) }
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(Set(found.keys) == ["a", "b", "b/a", "b/z", "c", "c/d", "c/d/e"])
        // The first of each counts.
        #expect(found["a"]?.size == 2 && found["b/a"]?.size == 3)
        #expect(result.skipped.list.map(\.problem) == [.shadowedByDirectory, .listedTwice])
    }

    @Test("an object of a size that no store has is left out")
    func tooLarge() throws {
        let fixture = try ImportFixture()
        let sizes: [(ByteString, UInt64)] = [("all", .max), ("more", (5 << 40) + 1), ("ok", 1)]
        let result = try fixture.runImport {
            $0.source = ListedSource(
                sizes.map { key, size in
                    SourceObject(
                        key: key, size: size, modified: Timestamp(seconds: 1, nanoseconds: 0),
                        version: ObjectVersion(tag: "t"))
                })
        }
        #expect(result.skipped.list.map(\.problem) == [.tooLarge])
        #expect(result.skipped.list.first?.keys.examples == ["all", "more"])
        #expect(result.statistics.files == 1)
    }

    @Test("what has no version that can be recorded is left out; an empty object needs none")
    func unidentified() throws {
        func object(_ key: ByteString, size: UInt64, tag: String) -> SourceObject {
            SourceObject(
                key: key, size: size, modified: Timestamp(seconds: 1, nanoseconds: 0),
                version: ObjectVersion(tag: tag))
        }
        let fixture = try ImportFixture()
        let result = try fixture.runImport {
            $0.source = ListedSource([
                object("empty", size: 0, tag: ""),
                object("long", size: 1, tag: String(repeating: "t", count: 2000)),
                object("none", size: 1, tag: ""), object("ok", size: 1, tag: "t"),
            ])
        }
        #expect(result.skipped.list.map(\.problem) == [.unidentified])
        #expect(result.skipped.list.first?.keys.examples == ["long", "none"])
        #expect(result.statistics.files == 2)
    }

    // MARK: - Any keys

    /// What the rules say, written down a second time and simply.
    private struct Model {
        var files: Set<ByteString> = []
        var directories: Set<ByteString> = []
        var skipped: UInt64 = 0

        init(_ keys: [(key: ByteString, size: Int)]) {
            var candidates: [ByteString] = []
            for (key, size) in keys {
                var parts = key.bytes.split(separator: 0x2F, omittingEmptySubsequences: false).map {
                    Array($0)
                }
                let isMarker = key.bytes.last == 0x2F || key.isEmpty
                if isMarker { parts.removeLast() }
                let isValid =
                    parts.allSatisfy { part in
                        !part.isEmpty && part != [0x2E] && part != [0x2E, 0x2E] && !part.contains(0)
                            && part.count <= 255
                    } && Array(parts.joined(separator: [0x2F])).count <= 4095
                guard isValid else {
                    skipped += 1
                    continue
                }
                for count in 0..<(isMarker ? parts.count + 1 : parts.count) where count > 0 {
                    directories.insert(ByteString(Array(parts[..<count].joined(separator: [0x2F]))))
                }
                if !isMarker { candidates.append(key) } else if size > 0 { skipped += 1 }
            }
            for key in candidates {
                if directories.contains(key) || !files.insert(key).inserted { skipped += 1 }
            }
        }
    }

    @Test(
        "whatever the keys are, the snapshot is a tree of exactly those that the rules keep",
        arguments: 0..<40)
    func anyKeys(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let parts: [[UInt8]] =
            ["", ".", "..", "a", "b", "a-b", "a.b", "A", "a\u{1}", "é", " "].map { Array($0.utf8) }
            + [[0xFF], [0], [0x61, 0], Self.long(255).bytes, Self.long(256).bytes]
        var keys: [(key: ByteString, size: Int)] = []
        for _ in 0..<Int.random(in: 1...120, using: &random) {
            let depth = Int.random(in: 1...Int.random(in: 1...20, using: &random), using: &random)
            let path = (0..<depth).map { _ in
                parts[
                    Bool.random(using: &random)
                        ? 3 + Int.random(in: 0..<4, using: &random)
                        : Int.random(in: 0..<parts.count, using: &random)]
            }
            keys.append(
                (ByteString(Array(path.joined(separator: [0x2F]))), Int.random(in: 0...2, using: &random)))
        }
        if seed.isMultiple(of: 2) { keys.sort { $0.key < $1.key } }
        let fixture = try ImportFixture()
        let source = ListedSource(
            keys.enumerated().map { index, listed in
                SourceObject(
                    key: listed.key, size: UInt64(listed.size),
                    modified: Timestamp(seconds: 1, nanoseconds: 0),
                    version: ObjectVersion(tag: "t\(index)"))
            })
        let result = try fixture.runImport { $0.source = source }
        let model = Model(keys)
        let found = try entries(try fixture.store.snapshot(result.snapshot))
        #expect(Set(found.filter { $0.value.contents == .directory }.keys) == model.directories)
        #expect(Set(found.filter { $0.value.contents != .directory }.keys) == model.files)
        #expect(result.skipped.count == model.skipped)
        #expect(try fixture.check(readsData: false).damages.isEmpty)
        // Again, from the same listing: nothing is new.
        #expect(try fixture.runImport { $0.source = source }.nothingChanged)
    }
}

/// A source that lists what it is told to, in that order.
struct ListedSource: ObjectSource {
    let location = "memory://listed/"
    let objects: [SourceObject]

    init(_ objects: [SourceObject]) { self.objects = objects }

    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        for object in objects where try !body(object) { return }
    }

    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        throw ObjectStoreError(.notFound, .read, key: key.description, location: location)
    }
}
