import ArgumentParser
import Glibc
import System

/// The path where the holder listens.
enum ListeningPlace {
    /// Takes the path, also from a holder that left it behind, but from none that runs.
    static func open(_ path: ByteString, for user: UInt32) throws -> MessageSocket {
        let directory = ByteString(Array(path.bytes.prefix(path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)))
        do throws(Errno) {
            if !directory.isEmpty { try HostFileSystem().makeDirectories(directory) }
            return try listen(path, user)
        } catch {
            guard error == Errno(rawValue: EADDRINUSE) else {
                throw ValidationError(
                    "cannot listen at \(path): \(error); choose another place with --socket")
            }
        }
        if (try? MessageSocket.connect(to: path)) != nil {
            throw ValidationError(
                "another holder listens at \(path): stop that one, or choose another --socket")
        }
        _ = unsafe path.withCString { unsafe unlink($0) }
        return try listen(path, user)
    }

    private static func listen(_ path: ByteString, _ user: UInt32) throws(Errno) -> MessageSocket {
        let socket = try MessageSocket.listen(at: path, mode: 0o600)
        if user != 0, unsafe path.withCString({ unsafe lchown($0, user, UInt32.max) }) < 0 { throw .last }
        return socket
    }
}
