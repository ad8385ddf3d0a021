import Glibc
package import System

/// A new directory that is removed with all it holds when its owner lets it go.
package final class TemporaryDirectory: Sendable {
    package let path: ByteString

    /// Below `TMPDIR`, else /tmp.
    package init() throws(Errno) {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        let name = HostRandom().bytes(8).map { String($0, radix: 16) }.joined()
        path = ByteString("\(base)/kaml-test-\(name)")
        try HostFileSystem().makeDirectory(path, mode: 0o755)
    }

    deinit { Self.remove(path) }

    /// rm -rf.
    package static func remove(_ path: ByteString) {
        let files = HostFileSystem()
        guard let status = try? files.status(of: path) else { return }
        if status.kind == .directory {
            for entry in (try? files.list(path)) ?? [] { remove(path.appending(entry.name)) }
            try? files.removeDirectory(path)
        } else {
            try? files.unlink(path)
        }
    }
}
