import Glibc
package import System

/// Paths without symlinks, and which directory lies in which.
package enum CanonicalPath {
    /// The path itself where it cannot be resolved, such as that of a mount whose process is gone.
    package static func of(_ path: ByteString) -> ByteString {
        unsafe path.withCString { path in
            guard let resolved = unsafe realpath(path, nil) else { return nil }
            defer { unsafe free(resolved) }
            return unsafe ByteString(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
        } ?? path
    }

    /// Whether `path` is `directory` or lies in it, told by device and inode on the way up: a bind mount or another
    /// spelling of the same directory does not hide it. False where either is not there.
    package static func contains(_ directory: ByteString, _ path: ByteString) -> Bool {
        guard let wanted = identity(directory), var current = identity(path) else { return false }
        var place = of(path)
        while true {
            if current == wanted { return true }
            guard place.count > 1 else { return false }
            let slash = place.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
            place = slash == 0 ? "/" : ByteString(Array(place.bytes[..<slash]))
            guard let parent = identity(place) else { return false }
            current = parent
        }
    }

    private struct Identity: Equatable {
        var device: UInt64
        var inode: UInt64
    }

    private static func identity(_ path: ByteString) -> Identity? {
        var status = stat()
        guard unsafe path.withCString({ unsafe stat($0, &status) }) == 0 else { return nil }
        return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}
