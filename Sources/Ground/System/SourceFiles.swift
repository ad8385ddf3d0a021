import CKamlSys
import Glibc

/// Reading of a directory tree that somebody else may change meanwhile: nothing here follows a symlink.
extension FileDescriptor {
    /// Opens `path` below `directory` so that no symlink, not even one put there meanwhile, leads out of it
    /// (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Throws `.loop` for a symlink.
    package static func open(
        beneath directory: Int32, _ path: ByteString, _ flags: Int32
    ) throws(Errno) -> FileDescriptor {
        let descriptor = try unsafe path.withCString { path throws(Errno) in
            try retryingOnInterrupt {
                unsafe kaml_open_beneath(directory, path, flags | O_CLOEXEC | O_NOFOLLOW, 0)
            }
        }
        return FileDescriptor(owning: descriptor)
    }

    /// Opens one name of a directory for reading; throws `.loop` for a symlink and never waits for a fifo.
    package static func openEntry(
        _ name: UnsafePointer<CChar>, in directory: Int32
    ) throws(Errno) -> FileDescriptor {
        let descriptor = try retryingOnInterrupt {
            unsafe Glibc.openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        }
        return FileDescriptor(owning: descriptor)
    }

    /// The next byte at or after `offset` that is not in a hole; nil when there is none. Where the file system
    /// knows no holes, all is data.
    package borrowing func nextData(from offset: UInt64) throws(Errno) -> UInt64? {
        try seek(offset, 3)  // SEEK_DATA, which only _GNU_SOURCE declares
    }

    /// The next hole at or after `offset`, which may be the end of the file.
    package borrowing func nextHole(from offset: UInt64) throws(Errno) -> UInt64? {
        try seek(offset, 4)  // SEEK_HOLE
    }

    private borrowing func seek(_ offset: UInt64, _ whence: Int32) throws(Errno) -> UInt64? {
        guard let start = off_t(exactly: offset) else { throw .invalid }
        let found = lseek(rawValue, start, whence)
        if found >= 0 { return UInt64(found) }
        let error = Errno.last
        if error.rawValue == ENXIO { return nil }
        if error == .invalid || error == .notSupported { return offset }
        throw error
    }

    /// Tells the kernel that the file will be read once from start to end.
    package borrowing func adviseSequential() { posix_fadvise(rawValue, 0, 0, POSIX_FADV_SEQUENTIAL) }
}

extension DirectoryReader {
    /// Calls `body` with each name but `.` and `..`, followed by its NUL, in the file system's order.
    /// `buffer` is scratch memory of at least 32 KiB.
    package static func forEachName(
        of directory: borrowing FileDescriptor, _ buffer: UnsafeMutableRawBufferPointer,
        _ body: (_ nameWithNul: UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let descriptor = directory.rawValue
        while true {
            let filled = try retryingOnInterrupt {
                unsafe kaml_getdents64(descriptor, buffer.baseAddress, buffer.count)
            }
            if filled == 0 { return }
            var position = 0
            while position + 19 < filled {
                let length = unsafe Int(buffer.loadUnaligned(fromByteOffset: position + 16, as: UInt16.self))
                guard length > 19, position + length <= filled, let base = buffer.baseAddress else { return }
                let name = unsafe base + position + 19
                let count = unsafe strnlen(name.assumingMemoryBound(to: CChar.self), length - 19)
                if count < length - 19, unsafe !isDot(name, count) {
                    unsafe body(UnsafeRawBufferPointer(start: name, count: count + 1))
                }
                position += length
            }
        }
    }

    private static func isDot(_ name: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        let dot = UInt8(ascii: ".")
        guard count <= 2, unsafe name.load(as: UInt8.self) == dot else { return false }
        return unsafe count == 1 || name.load(fromByteOffset: 1, as: UInt8.self) == dot
    }
}

/// readlink(2) of one name of a directory. Throws `.invalid` when it is no symlink.
package func readSymlink(_ name: UnsafePointer<CChar>, in directory: Int32) throws(Errno) -> ByteString {
    var target = [UInt8](repeating: 0, count: 4097)
    let count = unsafe target.withUnsafeMutableBytes { buffer -> Int in
        guard let base = buffer.baseAddress else { return 0 }
        return unsafe readlinkat(directory, name, base.assumingMemoryBound(to: CChar.self), buffer.count)
    }
    if count < 0 { throw Errno.last }
    guard count < target.count else { throw .init(rawValue: ENAMETOOLONG) }
    return ByteString(Array(target[..<count]))
}

/// The `user.*` extended attributes of an open file or directory, sorted by name; none where the file system
/// has no such thing.
package func userAttributes(
    of file: borrowing FileDescriptor
) throws(Errno) -> [(name: ByteString, value: [UInt8])] {
    let names = try unsafe attributeBytes { unsafe kaml_flistxattr(file.rawValue, $0, $1) }
    guard !names.isEmpty else { return [] }
    var attributes: [(name: ByteString, value: [UInt8])] = []
    for name in names.split(separator: 0) where name.starts(with: "user.".utf8) {
        let key = ByteString(Array(name))
        do throws(Errno) {
            let value = try unsafe key.withCString { key throws(Errno) in
                try unsafe attributeBytes { unsafe kaml_fgetxattr(file.rawValue, key, $0, $1) }
            }
            attributes.append((key, value))
        } catch .noData {
            // Removed since it was listed; the change of ctime tells whoever reads the file.
        }
    }
    return attributes.sorted { $0.name < $1.name }
}

/// Calls for the size, then for the bytes, again when they grew between.
private func attributeBytes(
    _ call: (UnsafeMutableRawPointer?, Int) -> Int
) throws(Errno) -> [UInt8] {
    while true {
        let size = call(nil, 0)
        if size < 0 {
            let error = Errno.last
            if error == .notSupported || error == .noSystemCall { return [] }
            throw error
        }
        if size == 0 { return [] }
        var bytes = [UInt8](repeating: 0, count: size)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe call($0.baseAddress, $0.count) }
        if count >= 0 { return Array(bytes[..<count]) }
        let error = Errno.last
        guard error == .range else { throw error }
    }
}
