import DatasetFS
import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import MountHolder
import System

/// Serves what the holder has, or mounts when it has nothing.
enum Serving {
    static func run(socket: ByteString, mountPoint: ByteString, passthrough: Bool, data: ByteString) {
        do {
            let tree = try tree(data)
            let configuration = FuseSession.Configuration(
                profile: passthrough ? .passthrough : .zeroMessageOpen, workers: 4,
                notice: { say("notice: \($0)") })
            let client = try HolderClient(socket: socket)
            let session: FuseSession
            if let found = try client.next(after: 0) {
                session = try FuseSession(
                    found.takeAttached(), operations: tree, configuration: configuration)
                try session.start()
                try session.waitUntilServing()
                say("took over")
            } else {
                let options = MountOptions(mountPoint: mountPoint, source: "kaml:load@main", allowOther: true)
                let mount = try client.attach(options, description: Array("load".utf8))
                let control = mount.control
                session = try FuseSession(mount, operations: tree, configuration: configuration)
                try session.start()
                try session.waitUntilServing()
                try control.raiseReadAhead(toKiB: 1024)
                say("mounted")
            }
            let end = session.waitUntilEnded()
            say("ended: \(end) \(session.statistics())")
        } catch {
            say("failed: \(error)")
            exit(1)
        }
    }

    private static func tree(_ data: ByteString) throws -> MemoryTree {
        let tree = MemoryTree()
        for number in 0..<LoadedTree.largeFiles {
            let (bytes, descriptor) = try map(data.appending(ByteString(LoadedTree.large(number))))
            let inode = tree.file(ByteString(LoadedTree.large(number)), bytes)
            if number % 2 == 0 { tree.passThrough(inode, descriptor) }
        }
        for directory in 0..<LoadedTree.directories {
            let parent = tree.directory(ByteString("dir\(directory)"))
            for number in 0..<LoadedTree.smallFiles {
                let (bytes, descriptor) = try map(
                    data.appending(ByteString("dir\(directory)-small\(number)")))
                let inode = tree.file(ByteString("small\(number)"), bytes, in: parent)
                if number % 3 == 0 { tree.passThrough(inode, descriptor) } else { close(descriptor) }
                tree.set("user.kaml.number", ByteString("\(number)"), of: inode)
            }
        }
        return tree
    }

    /// Both live as long as the process.
    private static func map(_ path: ByteString) throws -> (UnsafeRawBufferPointer, Int32) {
        let file = try FileDescriptor.open(path, O_RDONLY)
        let size = Int(try file.status().size)
        let address = mmap(nil, size, PROT_READ, MAP_SHARED, file.rawValue, 0)
        guard let address, address != MAP_FAILED else { throw Errno.last }
        return (UnsafeRawBufferPointer(start: address, count: size), file.release())
    }
}

func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(STDOUT_FILENO, line, line.count)
}
