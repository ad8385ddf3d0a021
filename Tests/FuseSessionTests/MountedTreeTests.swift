import CXattr
import DatasetFS
import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

/// Everything that mounts is in this suite, one test at a time.
@Suite(.serialized, .enabled(if: canMount, "needs root and /dev/fuse"), .timeLimit(.minutes(2)))
struct Mounts {}

extension Mounts {
    @Suite struct Trees {
        @Test(arguments: [MountProfile.zeroMessageOpen, .passthrough])
        func `nested directories, files, links and attributes show as they are`(profile: MountProfile)
            async throws
        {
            let tree = MemoryTree()
            let outer = tree.directory("outer")
            let inner = tree.directory("inner", in: outer)
            let file = tree.file("file", Array("hello".utf8), in: inner)
            tree.change(file) { attributes in
                attributes.mode = UInt32(S_IFREG) | 0o640
                attributes.userID = 1234
                attributes.groupID = 567
                attributes.linkCount = 2
            }
            tree.link("up", to: "../inner/file", in: inner)
            tree.file("empty", [], in: outer)
            try await withMount(tree, profile) { mounted throws in
                #expect(try names(mounted.path) == ["outer"])
                #expect(try names(mounted.path("outer")).sorted() == ["empty", "inner"])
                let status = try status(mounted.path("outer/inner/file"))
                #expect(status.mode == UInt32(S_IFREG) | 0o640)
                #expect(status.userID == 1234 && status.groupID == 567)
                #expect(status.linkCount == 2)
                #expect(status.size == 5)
                #expect(status.inode == file)
                #expect(status.modified == Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789))
                #expect(try contents(mounted.path("outer/inner/up")) == Array("hello".utf8))
                #expect(try contents(mounted.path("outer/empty")) == [])
                let (_, target) = try run(["readlink", mounted.path("outer/inner/up")])
                #expect(target == "../inner/file\n")
                #expect(throws: Errno.noEntry) { try openFile(mounted.path("outer/absent")) }
                #expect(throws: Errno.notDirectory) { try openFile(mounted.path("outer/empty/x")) }
            }
        }

        @Test func `a name that is absent is asked for once`() async throws {
            try await withMount(MemoryTree(), .zeroMessageOpen) { mounted throws in
                for _ in 0..<5 { #expect(throws: Errno.noEntry) { try status(mounted.path("absent")) } }
                #expect(mounted.session.statistics().lookups == 1)
            }
        }

        @Test func `a listing makes lookups and stats free`() async throws {
            let tree = MemoryTree()
            for index in 0..<100 { tree.file(ByteString("f\(index)"), [1, 2, 3]) }
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                #expect(try names(mounted.path).count == 100)
                for index in 0..<100 { #expect(try status(mounted.path(ByteString("f\(index)"))).size == 3) }
                #expect(mounted.session.statistics().lookups == 0)
                #expect(mounted.session.statistics().directoryOpens == 1)
            }
        }

        @Test(arguments: [MountProfile.zeroMessageOpen, .passthrough])
        func `a large directory can be rewound and read on from any place`(profile: MountProfile) async throws
        {
            let tree = MemoryTree()
            let wide = tree.directory("wide")
            let expected = (0..<3000).map { ByteString("entry-with-a-longish-name-\($0)") }
            for name in expected { tree.file(name, [], in: wide) }
            try await withMount(tree, profile) { mounted throws in
                guard let stream = mounted.path("wide").withCString({ opendir($0) }) else { throw Errno.last }
                defer { closedir(stream) }
                func rest() -> [ByteString] {
                    var names: [ByteString] = []
                    while let entry = readdir(stream) {
                        names.append(
                            withUnsafeBytes(of: &entry.pointee.d_name) {
                                ByteString(Array($0.prefix { $0 != 0 }))
                            })
                    }
                    return names
                }
                #expect(rest() == [".", ".."] + expected)
                rewinddir(stream)
                for _ in 0..<1502 { _ = readdir(stream) }
                let place = telldir(stream)
                #expect(rest() == Array(expected[1500...]))
                seekdir(stream, place)
                #expect(rest() == Array(expected[1500...]))
            }
        }

        @Test func `names are bytes, not text`() async throws {
            let tree = MemoryTree()
            let twins: [ByteString] = [ByteString("caf\u{E9}"), ByteString("cafe\u{301}")]
            let invalid = ByteString([0x66, 0xFF, 0xFE, 0x80])
            let newline: ByteString = "a\nb c"
            let longest = ByteString([UInt8](repeating: UInt8(ascii: "n"), count: 255))
            let all = twins + [invalid, newline, longest]
            for (index, name) in all.enumerated() { tree.file(name, [UInt8(index)]) }
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                #expect(try Set(names(mounted.path)) == Set(all))
                for (index, name) in all.enumerated() {
                    #expect(try contents(mounted.path(name)) == [UInt8(index)])
                }
                let tooLong = ByteString(longest.bytes + [UInt8(ascii: "n")])
                #expect(throws: Errno(rawValue: ENAMETOOLONG)) { try status(mounted.path(tooLong)) }
            }
        }

        @Test func `extended attributes are read, sized and refused`() async throws {
            let tree = MemoryTree()
            let file = tree.file("file", [1])
            tree.set("user.kaml.hash", "abcdef", of: file)
            tree.set("user.empty", "", of: file)
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                mounted.path("file").withCString { path in
                    var buffer = [UInt8](repeating: 0, count: 64)
                    #expect(getxattr(path, "user.kaml.hash", nil, 0) == 6)
                    #expect(getxattr(path, "user.kaml.hash", &buffer, 64) == 6)
                    #expect(buffer.prefix(6).elementsEqual("abcdef".utf8))
                    #expect(getxattr(path, "user.empty", &buffer, 64) == 0)
                    #expect(failure { Int32(getxattr(path, "user.kaml.hash", &buffer, 3)) } == ERANGE)
                    #expect(failure { Int32(getxattr(path, "user.absent", &buffer, 64)) } == ENODATA)
                    #expect(listxattr(path, nil, 0) == 26)
                    #expect(failure { Int32(listxattr(path, nil, 0)) } == 0)
                    var list = [CChar](repeating: 0, count: 64)
                    let count = listxattr(path, &list, 64)
                    #expect(
                        list.prefix(count).map { UInt8(bitPattern: $0) }.elementsEqual(
                            "user.kaml.hash\0user.empty\0".utf8))
                    #expect(failure { Int32(listxattr(path, &list, 5)) } == ERANGE)
                }
                #expect(try names(mounted.path) == ["file"])
            }
        }

        @Test func `every kind of write is refused as read-only`() async throws {
            let tree = MemoryTree()
            tree.file("file", [1])
            tree.directory("dir")
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                let file = mounted.path("file").bytes.map { CChar(bitPattern: $0) } + [0]
                let dir = mounted.path("dir").bytes.map { CChar(bitPattern: $0) } + [0]
                let new = mounted.path("new").bytes.map { CChar(bitPattern: $0) } + [0]
                #expect(throws: Errno.readOnlyFileSystem) { try openFile(mounted.path("file"), O_WRONLY) }
                #expect(throws: Errno.readOnlyFileSystem) { try openFile(mounted.path("file"), O_RDWR) }
                #expect(throws: Errno.readOnlyFileSystem) {
                    try openFile(mounted.path("file"), O_RDONLY | O_TRUNC)
                }
                #expect(throws: Errno.readOnlyFileSystem) {
                    try openFile(mounted.path("new"), O_RDWR | O_CREAT)
                }
                #expect(failure { mkdir(new, 0o755) } == EROFS)
                #expect(failure { mknod(new, S_IFREG | 0o644, 0) } == EROFS)
                #expect(failure { unlink(file) } == EROFS)
                #expect(failure { rmdir(dir) } == EROFS)
                #expect(failure { symlink("x", new) } == EROFS)
                #expect(failure { rename(file, new) } == EROFS)
                #expect(failure { link(file, new) } == EROFS)
                #expect(failure { truncate(file, 0) } == EROFS)
                #expect(failure { chmod(file, 0o600) } == EROFS)
                #expect(failure { chown(file, 1, 1) } == EROFS)
                #expect(failure { utimes(file, nil) } == EROFS)
                #expect(failure { setxattr(file, "user.x", "y", 1, 0) } == EROFS)
                #expect(failure { removexattr(file, "user.x") } == EROFS)
                #expect(try contents(mounted.path("file")) == [1])
            }
        }

        @Test func `statvfs tells the totals`() async throws {
            let tree = MemoryTree()
            tree.file("file", [UInt8](repeating: 1, count: 5000))
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                var totals = statvfs()
                #expect(mounted.path.withCString { statvfs($0, &totals) } == 0)
                #expect(totals.f_blocks == 2 && totals.f_frsize == 4096 && totals.f_bavail == 0)
                #expect(totals.f_files == 2 && totals.f_namemax == 255)
            }
        }

        @Test func `permissions are the kernel's to check`() async throws {
            let tree = MemoryTree()
            tree.change(tree.file("secret", [1])) { $0.mode = UInt32(S_IFREG) | 0o600 }
            tree.change(tree.file("open", [2])) { $0.mode = UInt32(S_IFREG) | 0o644 }
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                let asNobody: [ByteString] = [
                    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat",
                ]
                #expect(try run(asNobody + [mounted.path("secret")]).output.contains("Permission denied"))
                #expect(try run(asNobody + [mounted.path("open")]).output == "\u{2}")
            }
        }
    }
}
