import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@Suite("A store in a directory")
struct FileObjectStoreTests {
    let directory: TemporaryDirectory
    let files = HostFileSystem()

    init() throws { directory = try TemporaryDirectory() }

    private var root: ByteString { directory.path.appending("store") }

    private func makeStore(_ files: any FileSystem = HostFileSystem()) throws -> FileObjectStore {
        let store = FileObjectStore(root, files: files)
        try store.createDirectory()
        return store
    }

    /// How many descriptors of this process lie below a directory; other tests open and close theirs meanwhile.
    private func openFiles(below directory: ByteString) throws -> Int {
        try files.list("/proc/self/fd").count { entry in
            guard
                let target = try? entry.name.withCString({
                    try unsafe readSymlink("/proc/self/fd/\(String(cString: $0))", in: AT_FDCWD)
                })
            else { return false }
            return target.bytes.starts(with: directory.bytes)
        }
    }

    private func temporaryFiles() -> [DirectoryEntry] { (try? files.list(root.appending(".tmp"))) ?? [] }

    @Test("keeps an object as a read-only file at its key's path, and no temporary file")
    func layout() throws {
        let store = try makeStore()
        _ = try store.createIfAbsent(key("packs/3f/x"), [1, 2])
        let status = try files.status(of: root.appending("packs/3f/x"))
        #expect(status.size == 2)
        #expect(status.mode & 0o222 == 0)
        #expect(status.linkCount == 1)
        #expect(temporaryFiles().isEmpty)
        #expect(store.location == "file://\(root)")
    }

    @Test("says that the directory is gone, and works again when it is back")
    func disappearance() throws {
        let store = try makeStore()
        _ = try store.createIfAbsent(key("packs/a"), [1])
        #expect(try store.read(key("packs/a"), from: 0, count: 1) == [1])
        let aside = directory.path.appending("aside")
        try files.rename(root, aside)
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.readAll(key("packs/a"), limit: 9)
        }
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.size(of: key("packs/a")) }
        expect(.unavailable) { () throws(ObjectStoreError) in
            _ = try store.createIfAbsent(key("packs/b"), [2])
        }
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.makeWriter(key("packs/b")) }
        expect(.unavailable) { () throws(ObjectStoreError) in try store.delete(key("packs/a")) }
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.list("packs/") }
        #expect(throws: Errno.noEntry) { try files.status(of: root) }
        try files.rename(aside, root)
        #expect(try store.read(key("packs/a"), from: 0, count: 1) == [1])
        #expect(try store.createIfAbsent(key("packs/b"), [2]) == .created)
        #expect(try store.list("packs/").count == 2)
    }

    @Test("makes folders again when the store came back without them")
    func foldersVanish() throws {
        let store = try makeStore()
        _ = try store.createIfAbsent(key("packs/ab/a"), [1])
        TemporaryDirectory.remove(root.appending("packs"))
        TemporaryDirectory.remove(root.appending(".tmp"))
        #expect(try store.createIfAbsent(key("packs/ab/b"), [2]) == .created)
        expect(.notFound) { () throws(ObjectStoreError) in
            _ = try store.read(key("packs/ab/a"), from: 0, count: 1)
        }
    }

    @Test("reads the file that is there now, not one it had open before")
    func replacedFile() throws {
        let store = try makeStore()
        _ = try store.createIfAbsent(key("x"), [1])
        #expect(try store.read(key("x"), from: 0, count: 1) == [1])
        try files.unlink(root.appending("x"))
        expect(.notFound) { () throws(ObjectStoreError) in _ = try store.read(key("x"), from: 0, count: 1) }
        _ = try FileObjectStore(root).createIfAbsent(key("x"), [2])
        #expect(try store.read(key("x"), from: 0, count: 1) == [2])
    }

    @Test("opens a file again whose descriptor went bad")
    func staleDescriptor() throws {
        let faulty = FaultyFileSystem()
        let store = try makeStore(faulty)
        _ = try store.createIfAbsent(key("x"), [1])
        #expect(try store.read(key("x"), from: 0, count: 1) == [1])
        faulty.on(.read, 1, .stale)
        #expect(try store.read(key("x"), from: 0, count: 1) == [1])
        faulty.on(.read, 1, .inputOutput)
        faulty.on(.read, 2, .inputOutput)
        expect(.inputOutput) { () throws(ObjectStoreError) in _ = try store.read(key("x"), from: 0, count: 1)
        }
        #expect(try store.read(key("x"), from: 0, count: 1) == [1])
    }

    @Test("reads more objects than it keeps open")
    func manyObjects() throws {
        let store = try makeStore()
        for number in 0..<100 { _ = try store.createIfAbsent(key("n/\(number)"), [UInt8(number)]) }
        for _ in 0..<2 {
            for number in 0..<100 {
                #expect(try store.read(key("n/\(number)"), from: 0, count: 1) == [UInt8(number)])
            }
        }
        let open = try openFiles(below: root)
        #expect((1..<100).contains(open))
    }

    @Test("removes temporary files a day after their last write, and not before")
    func abandonedFiles() throws {
        let store = try makeStore()
        let writer = try store.makeWriter(key("x"))
        let now = HostClock().now()
        let tomorrow = FixedClock(Timestamp(seconds: now.seconds + 24 * 3600 + 60, nanoseconds: 0))
        #expect(try store.removeAbandoned(olderThan: 24 * 3600) == 0)
        #expect(temporaryFiles().count == 1)
        let later = FileObjectStore(root, clock: tomorrow)
        let other = try later.makeWriter(key("y"))
        #expect(temporaryFiles().count == 1)
        writer.abandon()
        other.abandon()
        #expect(temporaryFiles().isEmpty)
    }

    @Test("passes over what is no object when it lists")
    func foreignFiles() throws {
        let store = try makeStore()
        _ = try store.createIfAbsent(key("a"), [1])
        for name in ["README.txt~", "lost+found", "UPPER", ".hidden"] as [ByteString] {
            _ = try files.open(root.appending(name), O_CREAT | O_WRONLY)
        }
        #expect(mkfifo(root.appending("pipe").description, 0o600) == 0)
        #expect(try store.list("").map(\.key.text) == ["a"])
    }
}

/// A clock that stands still.
struct FixedClock: Clock {
    let time: Timestamp
    init(_ time: Timestamp) { self.time = time }
    func now() -> Timestamp { time }
    func monotonicNanoseconds() -> UInt64 { 0 }
}
