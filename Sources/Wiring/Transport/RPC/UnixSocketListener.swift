import Glibc
package import System

/// Why a socket could not be listened on.
package struct ListenError: Error, Sendable, CustomStringConvertible {
    package var place: String
    package var what: String
    /// What the reader of the message can do.
    package var remedy: String

    package init(_ place: String, _ what: String, remedy: String) {
        self.place = place
        self.what = what
        self.remedy = remedy
    }

    package var description: String { "\(place): \(what); \(remedy)" }
}

/// A listening Unix socket that nobody but its owner can use, at no time. Holds the place for as long as it lives.
package struct UnixSocketListener: ~Copyable {
    package let path: ByteString
    private let descriptor: FileDescriptor
    private let lock: FileDescriptor

    /// sun_path, with its NUL.
    private static let longestPath = 107
    private static let backlog: Int32 = 128

    /// Makes the socket with mode 0600, and gives it to `owner` where that is another user. A socket that a process
    /// left behind is replaced; one that is in use is not.
    package static func open(_ path: ByteString, owner: UInt32? = nil) throws(ListenError)
        -> UnixSocketListener
    {
        guard path.bytes.count + suffix.utf8.count <= longestPath else {
            throw ListenError(
                "\(path)", "the path of a socket has at most \(longestPath - suffix.utf8.count) bytes",
                remedy: "choose a shorter one")
        }
        let lock = try take(path)
        try checkPlace(path)
        let descriptor = try listening(at: path, owner: owner)
        return UnixSocketListener(path: path, descriptor: descriptor, lock: lock)
    }

    private static func listening(at path: ByteString, owner: UInt32?) throws(ListenError) -> FileDescriptor {
        // Bound beside its place and renamed onto it: whoever connects finds the old socket or the new one.
        let temporary = ByteString(path.bytes + Array(suffix.utf8))
        unlink(temporary)
        do throws(Errno) { return try placed(path, by: temporary, owner: owner) } catch {
            unlink(temporary)
            throw ListenError(
                "\(path)", "cannot listen: \(error)", remedy: "check the directory and who may write it")
        }
    }

    private static func placed(
        _ path: ByteString, by temporary: ByteString, owner: UInt32?
    ) throws(Errno) -> FileDescriptor {
        let descriptor = try bound(to: temporary, owner: owner)
        try rename(temporary, to: path)
        return descriptor
    }

    private init(path: ByteString, descriptor: consuming FileDescriptor, lock: consuming FileDescriptor) {
        self.path = path
        self.descriptor = descriptor
        self.lock = lock
    }

    /// The socket for a server to own, beside which this value keeps the place.
    package func duplicate() throws(Errno) -> Int32 {
        let copy = fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw .last }
        return copy
    }

    /// Removes the socket's name. Until then clients wait in its queue, also while nobody accepts.
    package consuming func remove() { unlink(path) }

    /// Removes the name of a socket whose listener was kept.
    package static func removeName(_ path: ByteString) { unlink(path) }

    /// Keeps the place until the process ends.
    package consuming func keep() {
        _ = lock.release()
        _ = descriptor.release()
    }

    private static let suffix = ".new"

    /// flock, so that the place is free when the process is gone, however it went.
    private static func take(_ path: ByteString) throws(ListenError) -> FileDescriptor {
        let name = ByteString(path.bytes + Array(".lock".utf8))
        let file: FileDescriptor
        do throws(Errno) {
            file = try HostFileSystem().open(name, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
        } catch {
            throw ListenError(
                "\(name)", "cannot be made: \(error)",
                remedy: "make its directory, writable for this user, or name another socket")
        }
        guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            throw ListenError(
                "\(path)", "another agent listens here",
                remedy: "end it first, or give this one a socket and a cache directory of its own")
        }
        return file
    }

    /// Nothing but a socket is replaced.
    private static func checkPlace(_ path: ByteString) throws(ListenError) {
        guard let status = try? HostFileSystem().status(of: path) else { return }
        guard status.mode & 0o170000 == 0o140000 else {
            throw ListenError("\(path)", "something else is here", remedy: "remove it, or name another path")
        }
    }

    private static func bound(to path: ByteString, owner: UInt32?) throws(Errno) -> FileDescriptor {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw .last }
        let socket = FileDescriptor(owning: raw)
        // Linux takes the mode of the socket's file from the socket: no moment at which others could connect.
        guard fchmod(raw, 0o600) == 0 else { throw .last }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.bytes) }
        let status = unsafe withUnsafePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw .last }
        if let owner, owner != geteuid() {
            let status = unsafe path.withCString { unsafe chown($0, owner, gid_t.max) }
            guard status == 0 else { throw .last }
        }
        guard listen(raw, backlog) == 0 else { throw .last }
        return socket
    }
}

private func unlink(_ path: ByteString) { _ = unsafe path.withCString { unsafe Glibc.unlink($0) } }

private func rename(_ from: ByteString, to: ByteString) throws(Errno) {
    let status = unsafe from.withCString { from in
        unsafe to.withCString { to in unsafe Glibc.rename(from, to) }
    }
    guard status == 0 else { throw .last }
}
