import Glibc
import System
import Transport

/// The socket that pods connect to, in a directory of its own: that is what pods get mounted, so that they see the socket of
/// a restarted agent too. Anybody may connect; what they may read is decided by who they are.
final class FeedSocket: Sendable {
    /// The directory, locked as long as the socket is this process's.
    private let lock: FileDescriptor

    private static let suffix: ByteString = ".new"
    /// sun_path, with its NUL.
    private static let longestPath = 107

    private let path: ByteString

    private init(_ path: ByteString, lock: consuming FileDescriptor) {
        self.path = path
        self.lock = lock
    }

    /// Takes the place, as long as the object lives.
    static func take(_ path: ByteString) throws(ListenError) -> FeedSocket {
        guard path.count + suffix.count <= longestPath else {
            throw ListenError(
                "\(path)", "the path of a socket has at most \(longestPath - suffix.count) bytes",
                remedy: "choose a shorter feed.socket")
        }
        do throws(Errno) {
            let directory = ByteString(
                Array(path.bytes.prefix(path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)))
            try HostFileSystem().makeDirectories(directory)
            let lock = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
            // Whatever the umask: pods of all users come through here.
            guard fchmod(lock.rawValue, 0o755) == 0 else { throw .last }
            guard flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0 else { throw .busy }
            return FeedSocket(path, lock: lock)
        } catch {
            throw failure(path, error)
        }
    }

    /// A socket that a process left behind is replaced: whoever connects finds that one or the new one.
    func listen() throws(ListenError) -> MessageSocket {
        do throws(Errno) {
            let temporary = ByteString(path.bytes + Self.suffix.bytes)
            try? HostFileSystem().unlink(temporary)
            let socket = try MessageSocket.listen(at: temporary, mode: 0o666)
            try HostFileSystem().rename(temporary, path)
            return socket
        } catch {
            throw Self.failure(path, error)
        }
    }

    private static func failure(_ path: ByteString, _ error: Errno) -> ListenError {
        ListenError(
            "\(path)", error == .busy ? "another agent serves feeds here" : "cannot listen: \(error)",
            remedy: "name another feed.socket, or set feed.enabled to false")
    }
}
