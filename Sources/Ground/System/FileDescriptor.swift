import CKamlSys
import Glibc

/// A file descriptor that is closed exactly once, when its owner lets it go.
package struct FileDescriptor: ~Copyable, Sendable {
    package let rawValue: Int32

    /// Takes ownership of an open descriptor.
    package init(owning rawValue: Int32) { self.rawValue = rawValue }

    deinit { Glibc.close(rawValue) }

    /// Gives the descriptor up without closing it.
    package consuming func release() -> Int32 {
        let descriptor = rawValue
        discard self
        return descriptor
    }

    /// open(2) with O_CLOEXEC. `flags` are the O_ constants.
    package static func open(
        _ path: ByteString, _ flags: Int32, mode: UInt32 = 0o600
    ) throws(Errno) -> FileDescriptor {
        try open(path, in: AT_FDCWD, flags, mode: mode)
    }

    /// O_DIRECT of open(2): reads and writes past the page cache, by whole pages from page-aligned memory.
    package static var directFlag: Int32 { kaml_open_direct }

    /// openat(2) with O_CLOEXEC.
    package static func open(
        _ path: ByteString, in directory: Int32, _ flags: Int32, mode: UInt32 = 0o600
    ) throws(Errno) -> FileDescriptor {
        let descriptor = try unsafe path.withCString { path throws(Errno) in
            try retryingOnInterrupt { unsafe Glibc.openat(directory, path, flags | O_CLOEXEC, mode) }
        }
        return FileDescriptor(owning: descriptor)
    }

    /// Another descriptor of the same open file, with O_CLOEXEC.
    package borrowing func duplicate() throws(Errno) -> FileDescriptor {
        let copy = fcntl(rawValue, F_DUPFD_CLOEXEC, 3)
        if copy < 0 { throw .last }
        return FileDescriptor(owning: copy)
    }

    package borrowing func status() throws(Errno) -> FileStatus {
        var raw = stat()
        if unsafe fstat(rawValue, &raw) < 0 { throw Errno.last }
        return FileStatus(raw)
    }

    /// pread(2) until `buffer` is full or the file ends; returns the bytes read.
    package borrowing func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let position = try Self.position(offset, done)
            let count = try retryingOnInterrupt {
                unsafe pread(rawValue, rest.baseAddress, rest.count, position)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// pwrite(2) until all of `bytes` is written.
    package borrowing func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        var done = 0
        while done < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
            let position = try Self.position(offset, done)
            done += try retryingOnInterrupt {
                unsafe pwrite(rawValue, rest.baseAddress, rest.count, position)
            }
        }
    }

    package borrowing func sync() throws(Errno) {
        _ = try retryingOnInterrupt { fsync(rawValue) }
    }

    /// Asks the kernel to begin writing a dirty range to the disk and returns at once, so that the
    /// `sync` at the end is short. Advice: it promises nothing, and where it fails nothing is lost.
    package borrowing func startWriteback(from offset: UInt64, count: UInt64) {
        _ = kaml_start_writeback(rawValue, offset, count)
    }

    package borrowing func truncate(to size: UInt64) throws(Errno) {
        guard let length = off_t(exactly: size) else { throw .invalid }
        _ = try retryingOnInterrupt { ftruncate(rawValue, length) }
    }

    private static func position(_ offset: UInt64, _ done: Int) throws(Errno) -> off_t {
        let (sum, overflow) = offset.addingReportingOverflow(UInt64(done))
        guard !overflow, let position = off_t(exactly: sum) else { throw .invalid }
        return position
    }
}
