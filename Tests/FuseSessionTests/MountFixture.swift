import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

/// Mount tests need /dev/fuse and the right to mount.
let canMount = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0

/// A tree, mounted and served by this process.
struct Mounted: Sendable {
    let directory: TemporaryDirectory
    let tree: MemoryTree
    let mounter: Mounter
    let session: FuseSession
    let notices: Notices

    var path: ByteString { directory.mountPoint }
    func path(_ name: ByteString) -> ByteString { path.appending(name) }
}

/// Mounts a tree, runs `body` on a plain thread, and unmounts whatever happened.
@discardableResult
func withMount<Value: Sendable>(
    _ tree: MemoryTree, _ profile: MountProfile, in given: TemporaryDirectory? = nil,
    _ body: @escaping @Sendable (Mounted) throws -> Value
) async throws -> Value {
    try await onThread {
        let directory = try given ?? TemporaryDirectory()
        defer { if given == nil { directory.remove() } }
        let mounter = Mounter(
            MountOptions(mountPoint: directory.mountPoint, source: "kaml:test@main", allowOther: true))
        let notices = Notices()
        let configuration = FuseSession.Configuration(profile: profile, notice: { notices.add($0) })
        let session = try FuseSession(
            mounter.attach(), operations: tree, configuration: configuration)
        defer {
            do {
                try mounter.detach()
            } catch {
                // Already unmounted, or still in use: out of the tree, and the workers sent home.
                try? mounter.detach(lazily: true)
                session.stop()
            }
            session.waitUntilEnded()
        }
        try session.start()
        try session.waitUntilServing()
        return try body(
            Mounted(directory: directory, tree: tree, mounter: mounter, session: session, notices: notices))
    }
}
