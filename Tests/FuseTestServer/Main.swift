import DatasetFS
import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import System

/// fuse-test-server MOUNTPOINT passthrough|zero [workers] [large-file] [small-files]
@main
enum Server {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3 else { exit(2) }
        let number = { (index: Int, otherwise: Int) in
            arguments.count > index ? Int(arguments[index]) ?? otherwise : otherwise
        }
        do {
            let options = MountOptions(
                mountPoint: ByteString(arguments[1]), source: "kaml:test,with@comma",
                allowOther: geteuid() == 0)
            let tree = makeTree(
                largeFile: arguments.count > 4 ? ByteString(arguments[4]) : nil, smallFiles: number(5, 10))
            let configuration = FuseSession.Configuration(
                profile: arguments[2] == "zero" ? .zeroMessageOpen : .passthrough,
                workers: number(3, FuseSession.defaultWorkers), notice: { print("notice:", $0) })
            let mounter = Mounter(options)
            let session = try FuseSession(
                mounter.attach(), operations: tree, configuration: configuration)
            try session.start()
            try session.waitUntilServing()
            do { try mounter.raiseReadAhead() } catch { print("notice:", error) }
            print("serving")
            fflush(nil)
            let end = session.waitUntilEnded()
            print("ended: \(end) \(session.statistics())")
        } catch {
            print("failed:", error)
            exit(1)
        }
    }

    static func makeTree(largeFile: ByteString?, smallFiles: Int) -> MemoryTree {
        let tree = MemoryTree()
        tree.file("hello", Array("hello\n".utf8))
        let small = [UInt8](repeating: 7, count: 64 << 10)
        var directory = tree.directory("d0")
        var shared: UnsafeRawBufferPointer?
        for index in 0..<smallFiles {
            if index > 0, index % 1000 == 0 { directory = tree.directory(ByteString("d\(index / 1000)")) }
            if let shared {
                tree.file(ByteString("file\(index)"), shared, in: directory)
            } else {
                let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: small.count, alignment: 4096)
                copy.copyBytes(from: small)
                shared = UnsafeRawBufferPointer(copy)
                tree.file(ByteString("file\(index)"), UnsafeRawBufferPointer(copy), in: directory)
            }
        }
        if let largeFile, let file = try? FileDescriptor.open(largeFile, O_RDONLY),
            let size = try? file.status().size, let region = try? MappedRegion(file, length: Int(size))
        {
            // Both live as long as the process.
            let inode = tree.file("large", region.bytes)
            tree.passThrough(inode, file.release())
            keep(region)
        }
        return tree
    }

    /// Leaves a mapping in place for good.
    static func keep(_ region: consuming MappedRegion) {
        let slot = UnsafeMutablePointer<MappedRegion>.allocate(capacity: 1)
        slot.initialize(to: region)
    }
}
