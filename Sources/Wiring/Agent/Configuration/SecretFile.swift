import Glibc
package import System

/// Files that hold secrets.
package enum SecretFile {
    /// Why a file may not be used, as the rest of a sentence; nil when it may.
    package static func problem(_ path: ByteString) -> String? {
        let files = HostFileSystem()
        let status: FileStatus
        do throws(Errno) {
            let file = try files.open(path, O_RDONLY | O_NONBLOCK)
            status = try files.status(of: file)
        } catch {
            return "cannot be read: \(error)"
        }
        guard status.kind == .regular else { return "is no file" }
        if status.mode & 0o007 != 0 { return "can be read by everybody; run chmod 0600 on it" }
        guard status.userID == geteuid() || status.userID == 0 else {
            return
                "belongs to user \(status.userID), who could change it; give it to root or to the agent's user"
        }
        return nil
    }

    /// Of more than any of these files has nothing is taken.
    static let largest = 64 << 10

    /// The whole of it; nil when it is too large, or no UTF-8.
    static func text(_ path: ByteString) throws(Errno) -> String? {
        let file = try FileDescriptor.open(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: largest + 1)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(Errno) in try unsafe file.read(into: buffer, at: 0) }
        }
        let count = try outcome.get()
        return count > largest ? nil : String(validating: bytes.prefix(count), as: UTF8.self)
    }
}

/// Names that are meant where a similar one is typed.
enum EditDistance {
    /// At most two letters are wrong, and fewer in short names.
    static func isClose(_ left: String, _ right: String) -> Bool {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        guard abs(left.count - right.count) <= 2, left.count < 100 else { return false }
        var row = Array(0...right.count)
        for (index, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for other in right.indices {
                let replaced = diagonal + (byte == right[other] ? 0 : 1)
                diagonal = row[other + 1]
                row[other + 1] = min(replaced, row[other] + 1, row[other + 1] + 1)
            }
        }
        return row[right.count] <= min(2, max(left.count, right.count) / 3)
    }
}
