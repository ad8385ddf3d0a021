import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@Suite("A directory as a source")
struct FileObjectSourceTests {
    private let directory: TemporaryDirectory
    private let source: FileObjectSource
    private let files = HostFileSystem()

    init() throws {
        directory = try TemporaryDirectory()
        source = FileObjectSource(directory.path)
    }

    private func write(_ name: ByteString, _ bytes: [UInt8]) throws {
        let file = try files.open(directory.path.appending(name), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        let outcome = bytes.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try files.write(file, bytes, at: 0) }
        }
        try outcome.get()
    }

    private func listed() throws -> [SourceObject] {
        var found: [SourceObject] = []
        try source.list { object throws(ObjectStoreError) in
            found.append(object)
            return true
        }
        return found
    }

    private func read(_ object: SourceObject, _ range: Range<UInt64>) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try source.read(object.key, object.version, range) { piece throws(ObjectStoreError) in
            bytes.append(contentsOf: piece)
            return true
        }
        return bytes
    }

    @Test("lists its files in the byte order of their paths")
    func order() throws {
        for folder in ["a", "a/b", "z"] {
            try files.makeDirectory(directory.path.appending(ByteString(folder)), mode: 0o755)
        }
        for name in ["a-b", "a.b", "a/0", "a/b/c", "a0", "b"] {
            try write(ByteString(name), Array(name.utf8))
        }
        try write(ByteString([0xFF, 0x0A]), [1, 2])
        let found = try listed()
        #expect(found.map(\.key) == found.map(\.key).sorted())
        #expect(found.map(\.key) == ["a-b", "a.b", "a/0", "a/b/c", "a0", "b", ByteString([0xFF, 0x0A])])
        #expect(found.map(\.size) == [3, 3, 3, 5, 2, 1, 2])
        #expect(try read(found[3], 2..<5) == Array("b/c".utf8))
    }

    @Test("leaves symlinks and everything else that is no file out, and never follows one")
    func symlinks() throws {
        try write("real", [1])
        #expect(symlink("/etc/passwd", directory.path.appending("file").description) == 0)
        #expect(symlink("/etc", directory.path.appending("folder").description) == 0)
        #expect(mkfifo(directory.path.appending("fifo").description, 0o600) == 0)
        let found = try listed()
        #expect(found.map(\.key) == ["real"])
        for key in ["file", "folder/passwd", "fifo", "../x", "/etc/passwd"] as [ByteString] {
            let error = #expect(throws: ObjectStoreError.self) {
                try source.read(key, found[0].version, 0..<1) { _ throws(ObjectStoreError) in true }
            }
            #expect(error.map { [.changed, .inputOutput].contains($0.code) } == true, "\(key)")
        }
    }

    @Test("refuses to read a file that was changed, replaced or removed")
    func changed() throws {
        for name in ["grown", "replaced", "removed"] { try write(ByteString(name), [1, 2, 3]) }
        let found = try listed()
        #expect(try read(found[0], 0..<3) == [1, 2, 3])
        try write("grown", [1, 2, 3, 4])
        try write("new", [1, 2, 3])
        try files.rename(directory.path.appending("new"), directory.path.appending("replaced"))
        try files.unlink(directory.path.appending("removed"))
        for object in found {
            let error = #expect(throws: ObjectStoreError.self) { try read(object, 0..<3) }
            #expect(error?.code == .changed, "\(object.key)")
        }
    }

    @Test("that is not there is unavailable, not empty")
    func missing() throws {
        let source = FileObjectSource(directory.path.appending("no"))
        let error = #expect(throws: ObjectStoreError.self) {
            try source.list { _ throws(ObjectStoreError) in true }
        }
        #expect(error?.code == .unavailable)
    }

    @Test("finds one file by its name, and nothing that is none")
    func finding() throws {
        try files.makeDirectory(directory.path.appending("folder"), mode: 0o755)
        try write("folder/a", [1, 2, 3])
        try #require(symlink("a", "\(directory.path)/folder/link") == 0)
        let listed = try listed()
        #expect(try source.find("folder/a") == listed.first)
        for name in ["folder", "folder/link", "folder/b", "b/c", "folder/a/b"] as [ByteString] {
            #expect(try source.find(name) == nil)
        }
    }
}
