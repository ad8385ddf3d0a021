import FuseMount
import FuseTestSupport
import Glibc
import MountHolder
import System
import Testing

@Suite struct `A holder's socket` {
    @Test func `connections that cannot be accepted are told of once, and end nothing`() async throws {
        try await onThread {
            // accept(2) of a socket that does not listen fails each time, and poll(2) says each time that it is due.
            let deaf = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
            var ends: [Int32] = [-1, -1]
            let status = pipe(&ends)
            try #require(deaf >= 0 && status == 0)
            let writeEnd = ends[1]
            var told: [String] = []
            let server = try HolderServer(
                listener: MessageSocket(owning: FileDescriptor(owning: deaf)), users: [geteuid()],
                state: HolderState(
                    kept: [], privileges: FakePrivileges(), recording: FakeRecording(), process: 1),
                ending: FileDescriptor(owning: ends[0]), notice: { told.append($0) })
            var turns = 0
            try server.run(every: 10_000) { _ in
                turns += 1
                if turns == 4 { _ = write(writeEnd, [0], 1) }
            }
            close(writeEnd)
            #expect(turns == 4)
            #expect(told.count == 1 && told.first?.contains("cannot be accepted") == true)
        }
    }
}

@Suite struct `Paths that lead through a mount` {
    private static let table = """
        20 1 8:1 / / rw - ext4 /dev/sda1 rw
        31 20 0:55 / /mnt/a ro - fuse.kaml kaml:x@main ro
        32 20 0:56 / /mnt/c ro - fuse.kaml kaml:y@main ro
        33 32 0:57 / /mnt/c rw - tmpfs tmpfs rw

        """

    @Test(arguments: [
        ("/mnt/a/b", true), ("/mnt/a/b/c", true), ("//mnt/./a//b/", true), ("/mnt/a/b/../../x", true),
        ("/mnt/a", false), ("/mnt/a/", false), ("/mnt/a/.", false), ("/mnt/a/../x", false), ("/mnt", false),
        ("/mnt/ab/c", false), ("/mnt/c/d", false), ("/", false), ("/../..", false), ("mnt/a/b", false),
    ])
    func `are told by their text`(_ path: String, _ leadsThrough: Bool) {
        let mounts = MountTable.parse(Array(Self.table.utf8))
        #expect(mounts.count == 4)
        let above = MountTable.entry(above: ByteString(path), type: Mounter.fileSystemType, in: mounts)
        let expected: ByteString? = leadsThrough ? "/mnt/a" : nil
        #expect(above?.mountPoint == expected)
    }
}
