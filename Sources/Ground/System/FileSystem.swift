import CKamlSys
import Glibc

/// The local file system as the store and the cache use it: a seam, so that tests can inject the
/// n-th ENOSPC, EIO or short read and replay it. The hot read path does not go through here.
///
/// Paths are trusted: they are made by this program below a directory its user named.
package protocol FileSystem: Sendable {
    func open(_ path: ByteString, _ flags: Int32, mode: UInt32) throws(Errno) -> FileDescriptor
    func status(of path: ByteString) throws(Errno) -> FileStatus
    func status(of file: borrowing FileDescriptor) throws(Errno) -> FileStatus
    /// Fills `buffer` or stops at the end of the file; returns the bytes read.
    func read(
        _ file: borrowing FileDescriptor, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(Errno) -> Int
    func write(
        _ file: borrowing FileDescriptor, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno)
    func sync(_ file: borrowing FileDescriptor) throws(Errno)
    func truncate(_ file: borrowing FileDescriptor, to size: UInt64) throws(Errno)
    /// link(2): fails with EEXIST where rename would replace. The base of create-if-absent.
    func link(_ from: ByteString, _ to: ByteString) throws(Errno)
    func rename(_ from: ByteString, _ to: ByteString) throws(Errno)
    /// rename(2) that fails with EEXIST instead of replacing (RENAME_NOREPLACE): for file systems that
    /// have no hard links. EINVAL where it is not supported.
    func renameExclusively(_ from: ByteString, _ to: ByteString) throws(Errno)
    /// Begins writing a dirty range to the disk without waiting; advice that cannot fail.
    func startWriteback(_ file: borrowing FileDescriptor, from offset: UInt64, count: UInt64)
    func unlink(_ path: ByteString) throws(Errno)
    func makeDirectory(_ path: ByteString, mode: UInt32) throws(Errno)
    func removeDirectory(_ path: ByteString) throws(Errno)
    /// Names in a directory without `.` and `..`, in no order.
    func list(_ path: ByteString) throws(Errno) -> [DirectoryEntry]
    /// How full the file system is that a path lies on.
    func space(at path: ByteString) throws(Errno) -> FileSystemSpace
}

extension FileSystem {
    package func space(at path: ByteString) throws(Errno) -> FileSystemSpace { try .of(path) }

    package func renameExclusively(_ from: ByteString, _ to: ByteString) throws(Errno) { throw .invalid }

    package func startWriteback(_ file: borrowing FileDescriptor, from offset: UInt64, count: UInt64) {
        file.startWriteback(from: offset, count: count)
    }

    package func open(_ path: ByteString, _ flags: Int32) throws(Errno) -> FileDescriptor {
        try open(path, flags, mode: 0o600)
    }

    /// Makes names that were created, renamed or removed in a directory durable.
    package func syncDirectory(_ path: ByteString) throws(Errno) {
        let directory = try open(path, O_RDONLY | O_DIRECTORY)
        try sync(directory)
    }

    /// Makes a directory and its missing parents, durably. What is there already is left as it is.
    package func makeDirectories(_ path: ByteString, mode: UInt32 = 0o755) throws(Errno) {
        do throws(Errno) {
            try makeDirectory(path, mode: mode)
        } catch .alreadyExists {
            return
        } catch .noEntry {
            guard let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")), slash > 0 else { throw .noEntry }
            try makeDirectories(ByteString(Array(path.bytes[..<slash])), mode: mode)
            // Once: below /proc there is no entry although there is a parent.
            do throws(Errno) { try makeDirectory(path, mode: mode) } catch .alreadyExists { return }
        }
        if let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) {
            try syncDirectory(slash == 0 ? "/" : ByteString(Array(path.bytes[..<slash])))
        }
    }
}

/// The machine's own file system.
package struct HostFileSystem: FileSystem {
    package init() {}

    package func open(_ path: ByteString, _ flags: Int32, mode: UInt32) throws(Errno) -> FileDescriptor {
        try FileDescriptor.open(path, flags, mode: mode)
    }

    package func status(of path: ByteString) throws(Errno) -> FileStatus {
        try unsafe path.withCString { path throws(Errno) in try unsafe FileStatus.of(path, in: AT_FDCWD) }
    }

    package func status(of file: borrowing FileDescriptor) throws(Errno) -> FileStatus {
        try file.status()
    }

    package func read(
        _ file: borrowing FileDescriptor, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(Errno) -> Int {
        try unsafe file.read(into: buffer, at: offset)
    }

    package func write(
        _ file: borrowing FileDescriptor, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        try unsafe file.write(bytes, at: offset)
    }

    package func sync(_ file: borrowing FileDescriptor) throws(Errno) { try file.sync() }

    package func truncate(_ file: borrowing FileDescriptor, to size: UInt64) throws(Errno) {
        try file.truncate(to: size)
    }

    package func link(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try unsafe two(from, to, Glibc.link)
    }

    package func rename(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try unsafe two(from, to, Glibc.rename)
    }

    package func renameExclusively(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try unsafe two(from, to, kaml_rename_exclusively)
    }

    package func unlink(_ path: ByteString) throws(Errno) { try unsafe one(path, Glibc.unlink) }

    package func makeDirectory(_ path: ByteString, mode: UInt32) throws(Errno) {
        try unsafe one(path) { unsafe mkdir($0, mode) }
    }

    package func removeDirectory(_ path: ByteString) throws(Errno) { try unsafe one(path, rmdir) }

    package func list(_ path: ByteString) throws(Errno) -> [DirectoryEntry] {
        let directory = try open(path, O_RDONLY | O_DIRECTORY)
        return try DirectoryReader.entries(of: directory)
    }

    private func one(_ path: ByteString, _ call: (UnsafePointer<CChar>) -> Int32) throws(Errno) {
        try unsafe path.withCString { path throws(Errno) in _ = try retryingOnInterrupt { unsafe call(path) }
        }
    }

    private func two(
        _ from: ByteString, _ to: ByteString,
        _ call: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Int32
    ) throws(Errno) {
        try unsafe from.withCString { from throws(Errno) in
            try unsafe to.withCString { to throws(Errno) in
                _ = try retryingOnInterrupt { unsafe call(from, to) }
            }
        }
    }
}
