import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// A cache disk that is full, failing, foreign or full of junk.
@Suite struct DiskTests {
    let home: CacheFixture
    let store = MemoryObjectStore()

    init() throws { home = try CacheFixture() }

    @Test(
        "a write that fails is answered from memory, sets no bit, and is told once",
        arguments: [
            Errno.noSpace, .quotaExceeded, .inputOutput, .readOnlyFileSystem,
        ])
    func writeFails(_ error: Errno) throws {
        let fixture = try PackFixture.random(Array(repeating: 30_000, count: 8), seed: 1, to: store)
        let files = FaultyFileSystem()
        let cache = try home.open(files: files)
        let container = try cache.container(for: fixture.pack, origin: store)
        files.always(.write, error)
        #expect(try cache.read(container, 0..<8) == fixture.chunks)
        #expect(try cache.read(container, 3..<5) == Array(fixture.chunks[3..<5]))
        for chunk in 0..<8 { #expect(!container.isPresent(chunk)) }
        cache.settle()
        #expect(cache.statistics().readThroughs == 10)
        #expect(home.told.count == 1, "\(home.told)")
        files.always(.write, nil)
        #expect(try cache.read(container, 0..<8) == fixture.chunks)
        #expect(container.isComplete)
        cache.close()
    }

    @Test("on a full disk large chunks are asked for about once, and nothing is read ahead")
    func fullDiskTraffic() throws {
        let fixture = try PackFixture.random(
            Array(repeating: 1 << 20, count: 24), seed: 4, layout: .file, to: store)
        let files = FaultyFileSystem()
        let counting = CountingObjectStore(store)
        let cache = try home.open(files: files)
        let container = try cache.container(for: fixture.pack, origin: counting)
        _ = try container.footer()
        files.always(.write, .noSpace)
        for chunk in 0..<24 {
            #expect(try cache.read(container, chunk..<(chunk + 1)) == [fixture.chunks[chunk]])
        }
        #expect(container.presentCount == 0)
        #expect(counting.counts.read.bytes <= fixture.pack.objectSize * 11 / 10)
        cache.close()
    }

    @Test("the n-th call of the file system fails, for every n: right bytes, then and after")
    func everyCall() throws {
        let base = try PackFixture.write([text(3000, seed: 1)], forms: [.zstd], to: store)
        let fixture = try PackFixture.write(
            [text(5000, seed: 2), edited(base.chunks[0].bytes, seed: 3)], forms: [.zstd, .prefix(base, 0)],
            to: store)
        for call in FileSystemCall.allCases {
            for errno in [Errno.noSpace, .inputOutput] {
                for number in 1...12 {
                    let home = try CacheFixture()
                    let files = FaultyFileSystem()
                    files.on(call, number, errno)
                    for _ in 0..<2 {
                        guard let cache = try? home.open(files: files) else { continue }
                        let container = try cache.container(for: fixture.pack, origin: store)
                        #expect(
                            try cache.read(container, 0..<2) == fixture.chunks, "\(call) \(number) \(errno)")
                        for chunk in 0..<2 where container.isPresent(chunk) {
                            #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
                        }
                        cache.close()
                    }
                    let cache = try home.open()
                    let container = try cache.container(for: fixture.pack, origin: store)
                    #expect(try cache.read(container, 0..<2) == fixture.chunks, "\(call) \(number) \(errno)")
                    cache.close()
                }
            }
        }
    }

    @Test("a full tmpfs: reads go on", .enabled(if: geteuid() == 0))
    func fullDisk() throws {
        let mountPoint = home.home.path.appending("small")
        try HostFileSystem().makeDirectory(mountPoint, mode: 0o700)
        let mounted = mountPoint.withCString {
            mount("tmpfs", $0, "tmpfs", 0, "size=1m,nr_inodes=40,mode=0700")
        }
        guard mounted == 0 else { return }
        defer { _ = mountPoint.withCString { umount2($0, Int32(MNT_DETACH)) } }
        let fixtures = try (0..<30).map {
            try PackFixture.random(Array(repeating: 30_000, count: 8), seed: UInt64($0), to: store)
        }
        for _ in 0..<2 {
            let cache = try home.open(in: mountPoint)
            for fixture in fixtures {
                let container = try cache.container(for: fixture.pack, origin: store)
                #expect(try cache.read(container, 0..<8) == fixture.chunks)
                for chunk in 0..<8 where container.isPresent(chunk) {
                    #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk])
                }
            }
            #expect(cache.statistics().readThroughs > 0)
            cache.close()
        }
        #expect(home.told.count <= 4, "\(home.told)")
    }

    @Test("a second cache on the directory is refused and told by whom")
    func locked() throws {
        let cache = try home.open()
        #expect { try home.open() } throws: { error in
            (error as? CacheError)?.code == .inUse && "\(error)".contains("process \(getpid())")
        }
        cache.close()
        try home.open().close()
    }

    @Test("directories that cannot be trusted are refused")
    func refusals() throws {
        try home.open().close()
        _ = home.directory.withCString { chmod($0, 0o777) }
        #expect { try home.open() } throws: { ($0 as? CacheError)?.code == .unusable }
        _ = home.directory.withCString { chmod($0, 0o700) }
        if geteuid() == 0 {
            _ = home.directory.withCString { chown($0, 12345, 12345) }
            #expect { try home.open() } throws: { ($0 as? CacheError)?.code == .unusable }
            _ = home.directory.withCString { chown($0, 0, 0) }
        }
        try replaceFile(
            home.directory.appending("VERSION"), Array("\(CacheLayout.version + 1)\n".utf8), suffix: "t",
            HostFileSystem())
        #expect { try home.open() } throws: { ($0 as? CacheError)?.code == .unsupported }
        try replaceFile(
            home.directory.appending("VERSION"), Array("junk".utf8), suffix: "t", HostFileSystem())
        try home.open().close()
    }

    enum Junk: CaseIterable { case nothing, empty, short, long, zeros, fifo, directory, symlink }

    @Test("container files replaced by junk are made anew", arguments: Junk.allCases, [true, false])
    func junk(_ junk: Junk, isData: Bool) throws {
        let fixture = try PackFixture.random([5000, 6000], seed: 3, to: store)
        do {
            let cache = try home.open()
            _ = try cache.read(try cache.container(for: fixture.pack, origin: store), 0..<2)
            cache.close()
        }
        let path = isData ? home.dataPath(fixture.pack) : home.mapPath(fixture.pack)
        let size = try HostFileSystem().status(of: path).size
        try HostFileSystem().unlink(path)
        func put(_ count: UInt64) throws {
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT)
            try file.truncate(to: count)
        }
        switch junk {
        case .nothing: break
        case .empty: try put(0)
        case .short: try put(size / 2)
        case .long: try put(size + 1)
        // The right size, but not what was written: only the map can be told by its bytes.
        case .zeros: if isData { return } else { try put(size) }
        case .fifo: _ = path.withCString { mkfifo($0, 0o600) }
        case .directory: try HostFileSystem().makeDirectory(path, mode: 0o700)
        case .symlink: _ = path.withCString { symlink("/etc/passwd", $0) }
        }
        let cache = try home.open()
        let container = try cache.container(for: fixture.pack, origin: store)
        #expect(try cache.read(container, 0..<2) == fixture.chunks)
        #expect(container.isComplete)
        for chunk in 0..<2 { #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]) }
        cache.close()
        #expect(
            try HostFileSystem().status(of: home.dataPath(fixture.pack)).size == fixture.pack.containerSize)
    }

    @Test("files the cache does not know are left alone")
    func unknownFiles() throws {
        try home.open().close()
        let stranger = home.directory.appending("containers").appending("zz")
        try HostFileSystem().makeDirectory(stranger, mode: 0o700)
        try replaceFile(stranger.appending("notes.map"), [1, 2, 3], suffix: "t", HostFileSystem())
        let cache = try home.open()
        #expect(try cache.scrub().containers == 0)
        cache.close()
        #expect(try readFile(stranger.appending("notes.map"), limit: 10, HostFileSystem()) == [1, 2, 3])
    }
}
