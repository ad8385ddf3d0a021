import DatasetFS
import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

extension Mounts {
    @Suite struct Passthrough {
        /// A file that the tree serves as one content and the kernel reads as another, which tells the ways apart.
        static let served = [UInt8](repeating: UInt8(ascii: "s"), count: 20_000)
        static let backing = [UInt8](repeating: UInt8(ascii: "b"), count: 20_000)

        @Test func `a passed through file is read and mapped without the agent`() async throws {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let descriptor = FileDescriptor(owning: try directory.write("backing", Self.backing))
            let tree = MemoryTree()
            let inode = tree.file("file", Self.served)
            tree.passThrough(inode, descriptor.rawValue)
            try await withMount(tree, .passthrough, in: directory) { mounted throws in
                #expect(mounted.session.negotiated?.hasPassthrough == true)
                for _ in 0..<3 {
                    let file = try openFile(mounted.path("file"))
                    #expect(try contents(file) == Self.backing)
                    let region = try MappedRegion(file, length: 20_000)
                    #expect(region.bytes.elementsEqual(Self.backing))
                }
                let statistics = mounted.session.statistics()
                #expect(statistics.reads == 0)
                #expect(statistics.passthroughOpens == 3)
                #expect(mounted.notices.all.isEmpty)
                try eventually { mounted.session.openInodes == 0 }
                try eventually { mounted.tree.calls["release passthrough"] == 3 }
            }
        }

        @Test func `opens that overlap keep the mode of the first`() async throws {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let descriptor = FileDescriptor(owning: try directory.write("backing", Self.backing)).release()
            let tree = MemoryTree()
            let inode = tree.file("file", Self.served)
            try await withMount(tree, .passthrough, in: directory) { mounted throws in
                let path = mounted.path("file")
                do {
                    let first = try openFile(path)
                    #expect(try contents(first) == Self.served)
                    mounted.tree.passThrough(inode, descriptor)
                    let second = try openFile(path)
                    #expect(try contents(second) == Self.served)
                }
                try eventually { mounted.session.openInodes == 0 }
                do {
                    let first = try openFile(path)
                    #expect(try contents(first) == Self.backing)
                    mounted.tree.passThrough(inode, nil)
                    let second = try openFile(path)
                    #expect(try contents(second) == Self.backing)
                }
                try eventually { mounted.session.openInodes == 0 }
                #expect(try contents(path) == Self.served)
                try eventually {
                    mounted.tree.calls == [
                        "open cached": 3, "open passthrough": 2, "release cached": 3,
                        "release passthrough": 2,
                    ]
                }
            }
            close(descriptor)
        }

        @Test func `opens and closes from many threads never fail`() async throws {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let descriptor = FileDescriptor(owning: try directory.write("backing", Self.backing)).release()
            let tree = MemoryTree()
            let inode = tree.file("file", Self.backing)
            try await withMount(tree, .passthrough, in: directory) { mounted throws in
                let path = mounted.path("file")
                let failures = Notices()
                let done = Notices()
                for _ in 0..<6 {
                    try Thread(name: "opener") {
                        for _ in 0..<300 {
                            do {
                                let bytes = try contents(path)
                                if bytes != Self.backing { failures.add("wrong bytes") }
                            } catch {
                                failures.add("\(error)")
                            }
                        }
                        done.add("")
                    }.detach()
                }
                var turn = 0
                while done.all.count < 6 {
                    mounted.tree.passThrough(inode, turn % 2 == 0 ? descriptor : nil)
                    turn += 1
                    usleep(500)
                }
                #expect(failures.all.isEmpty)
                try eventually { mounted.session.openInodes == 0 }
            }
            close(descriptor)
        }

        @Test func `a file the kernel refuses is served by the agent, with one notice`() async throws {
            let tree = MemoryTree()
            let inode = tree.file("file", Self.served)
            // A directory cannot back a file.
            let directory = try openFile("/tmp").release()
            tree.passThrough(inode, directory)
            try await withMount(tree, .passthrough) { mounted throws in
                for _ in 0..<3 { #expect(try contents(mounted.path("file")) == Self.served) }
                #expect(mounted.notices.all.count == 1)
                #expect(mounted.session.statistics().passthroughOpens == 0)
                try eventually { mounted.tree.calls["release passthrough"] == 3 }
            }
            close(directory)
        }

        @Test func `a stacked backing file turns passthrough off`() async throws {
            let inner = try TemporaryDirectory()
            defer { inner.remove() }
            let innerTree = MemoryTree()
            innerTree.file("backing", Self.backing)
            try await withMount(innerTree, .passthrough, in: inner) { below throws in
                let descriptor = try openFile(below.path("backing")).release()
                defer { close(descriptor) }
                let tree = MemoryTree()
                let inode = tree.file("file", Self.served)
                tree.passThrough(inode, descriptor)
                let above = try serve(tree)
                defer { above.end() }
                #expect(try contents(above.mountPoint.appending("file")) == Self.served)
                #expect(above.notices.all.count == 1)
                #expect(above.notices.all.first?.contains("stacked") == true)
            }
        }

        @Test func `an open for a file that nobody knows fails with its errno`() async throws {
            let tree = MemoryTree()
            let inode = tree.file("file", Self.served)
            tree.change(inode) { $0.inode = .init(rawValue: 99_999) }
            try await withMount(tree, .passthrough) { mounted throws in
                #expect(throws: Errno.stale) { try openFile(mounted.path("file")) }
            }
        }
    }
}

/// RELEASE is sent after close(2) has returned.
func eventually(_ condition: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation) throws {
    for _ in 0..<1000 {
        if condition() { return }
        usleep(2000)
    }
    Issue.record("did not become true", sourceLocation: sourceLocation)
}

/// A second mount inside a mount test, on the calling thread.
struct Served {
    let directory: TemporaryDirectory
    let mounter: Mounter
    let session: FuseSession
    let notices: Notices
    var mountPoint: ByteString { directory.mountPoint }

    func end() {
        try? mounter.detach(lazily: true)
        session.stop()
        session.waitUntilEnded()
        directory.remove()
    }
}

func serve(_ tree: MemoryTree, _ profile: MountProfile = .passthrough) throws -> Served {
    let directory = try TemporaryDirectory()
    let mounter = Mounter(
        MountOptions(mountPoint: directory.mountPoint, source: "kaml:second@main", allowOther: true))
    let notices = Notices()
    let session = try FuseSession(
        mounter.attach(), operations: tree,
        configuration: .init(profile: profile, notice: { notices.add($0) }))
    try session.start()
    try session.waitUntilServing()
    return Served(directory: directory, mounter: mounter, session: session, notices: notices)
}
