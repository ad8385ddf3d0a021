import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@Suite struct CommitRoundTripTests {
    @Test func nastyTreeReadsBackAsItIs() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 1)
        try source.write("plain", random.text(5_000), mode: 0o640)
        try source.write("empty", [])
        try source.write("one", [7])
        try source.write("zeros", Array(repeating: 0, count: 70_000))
        try source.write("exact", random.bytes(1 << 20))
        try source.write("beyond", random.bytes((1 << 20) + 1))
        try source.write("large.txt", random.text(3_000_000))
        try source.write(ByteString([0xFF, 0xFE, 0x80]), Array("invalid".utf8))
        try source.write(ByteString([0x63, 0x61, 0x66, 0xC3, 0xA9]), Array("nfc".utf8))
        try source.write(ByteString([0x63, 0x61, 0x66, 0x65, 0xCC, 0x81]), Array("nfd".utf8))
        try source.write(ByteString(Array(repeating: 0xC3, count: 255)), Array("long".utf8))
        try source.write("new\nline\u{1}", Array("control".utf8))
        try source.write("a!b", [1])
        try source.makeDirectory("a")
        try source.write("a/b", [2])
        try source.makeDirectory("empty-directory", mode: 0o700)
        var deep: ByteString = "deep"
        try source.makeDirectory(deep)
        for level in 0..<60 {
            deep = deep.appending(ByteString("level-\(level)"))
            try source.makeDirectory(deep)
        }
        try source.write(deep.appending("bottom"), random.text(100))
        try source.symlink("../../etc/passwd", "symlink")
        try source.symlink(ByteString([0xFF, 0x2F, 0x2F]), "a/odd symlink")
        try source.link("plain", "a/link")
        try source.link("plain", "zz-link")
        try source.link("large.txt", "a/large-link")
        try source.write("setuid", [1, 2, 3])
        _ = source.path("setuid").withCString { chmod($0, 0o6755) }
        _ = source.path("a").withCString { chmod($0, 0o1777) }
        _ = source.path("one").withCString { chmod($0, 0) }
        try setAttribute(source.path("plain"), "user.colour", [0, 1, 255])
        try setAttribute(source.path("empty-directory"), "user.note", Array("x".utf8))
        try source.write("sparse", [1])
        try source.truncate("sparse", 9 << 20)
        try source.patch("sparse", at: 5_300_000, Array("island".utf8))
        try setTime(source.path("one"), seconds: -5, nanoseconds: 123_456_789)
        let fifo = source.path("fifo").withCString { mkfifo($0, 0o600) }
        #expect(fifo == 0)

        let result = try source.commit()
        let snapshot = try source.snapshot(result)
        #expect(differences(try items(of: source.root), try items(of: snapshot, in: source.store)) == [])
        #expect(result.skippedSpecial == 1)
        #expect(result.statistics.hardLinks == 3)
        #expect(result.sequence == 1)
        #expect(result.storedBytes < (try source.storedBytes))
        let packs = try source.objects.list("packs/").reduce(0) { $0 + $1.size }
        #expect(result.packBytes == packs)
        let manifests = try source.objects.list("manifests/").reduce(0) { $0 + $1.size }
        #expect(result.storedBytes == packs + manifests)
    }

    @Test func holesAreNotStored() throws {
        let source = try SourceFixture()
        try source.write("sparse.bin", [1])
        try source.truncate("sparse.bin", 512 << 20)
        try source.patch("sparse.bin", at: 300 << 20, Array("island".utf8))
        try source.write("sparse.txt", Array("text\n".utf8))
        try source.truncate("sparse.txt", 100 << 20)
        let result = try source.commit()
        #expect(result.packBytes < 100_000)
        #expect(result.bytes == 612 << 20)
        let snapshot = try source.snapshot(result)
        var reader = FileReader(source.store)
        let entry = try find("sparse.bin", in: snapshot)
        var stored: UInt64 = 0
        var offset: UInt64 = 0
        try reader.read(entry) { piece throws(StoreError) in
            switch piece {
            case .hole(let count): offset += count
            case .bytes(let bytes):
                offset += UInt64(bytes.count)
                stored += UInt64(bytes.count)
            }
        }
        #expect(offset == 512 << 20)
        #expect(stored == 2 << 20)
    }

    @Test func sparseAndWrittenZerosShareChunks() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 2)
        for name in ["a.txt", "a.bin"] as [ByteString] {
            let head = random.text(700_000)
            try source.write(name, head)
            try source.patch(name, at: 6_000_000, random.text(500_000))
        }
        let first = try source.commit()
        // The same bytes with every hole written out.
        for name in ["a.txt", "a.bin"] as [ByteString] {
            let bytes = try items(of: source.root)[name]?.bytes ?? []
            try source.write(name, bytes)
        }
        let second = try source.commit()
        #expect(second.packBytes == 0)
        #expect(first.statistics.bytes == second.statistics.bytes)
    }

    @Test func aLargeFilesContainerIsTheFile() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 3)
        try source.write("model.bin", random.bytes(5_000_000))
        let entry = try find("model.bin", in: source.snapshot(source.commit()))
        guard case .extents(_, let extents) = entry.contents else {
            Issue.record("not a large file")
            return
        }
        #expect(extents.count == 1)
        #expect(extents.first?.source?.pack.layout == .file)
        #expect(extents.first?.source?.containerOffset == 0)
        #expect(extents.first?.source?.pack.containerSize == 5_000_000)
    }
}

func find(_ path: ByteString, in snapshot: Snapshot) throws -> ManifestEntry {
    var found: ManifestEntry?
    try snapshot.forEachEntry { (_, view, index) throws(StoreError) in
        let entry = view.entry(index)
        if ManifestEntry.displayPath(keyPath: entry.keyPath) == path { found = entry }
    }
    guard let found else { throw Errno.noEntry }
    return found
}

/// setxattr(2), which Swift's Glibc module lacks.
func setAttribute(_ path: ByteString, _ name: String, _ value: [UInt8]) throws {
    typealias Call =
        @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer?, Int, Int32) -> Int32
    guard let symbol = dlsym(nil, "setxattr") else { throw Errno.noSystemCall }
    let call = unsafeBitCast(symbol, to: Call.self)
    let result = path.withCString { path in
        value.withUnsafeBytes { call(path, name, $0.baseAddress, $0.count, 0) }
    }
    if result != 0 { throw Errno.last }
}

func setTime(_ path: ByteString, seconds: Int, nanoseconds: Int) throws {
    let time = timespec(tv_sec: seconds, tv_nsec: nanoseconds)
    let result = path.withCString { path in
        withUnsafePointer(to: (time, time)) { times in
            times.withMemoryRebound(to: timespec.self, capacity: 2) { utimensat(AT_FDCWD, path, $0, 0) }
        }
    }
    if result != 0 { throw Errno.last }
}
