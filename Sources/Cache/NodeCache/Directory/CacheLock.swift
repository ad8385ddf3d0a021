import Glibc
import System

/// The directory's lock, held as long as the value lives.
struct CacheLock: ~Copyable, Sendable {
    private let file: FileDescriptor

    deinit {
        // Said aloud: a child that is just being spawned holds a copy of the descriptor until it execs.
        flock(file.rawValue, LOCK_UN)
    }

    /// Throws `inUse` when another process has it. A POSIX lock would do for processes only; flock(2) also keeps
    /// out a second cache of the same process.
    static func take(_ layout: CacheLayout, _ files: any FileSystem) throws(LockFailure) -> CacheLock {
        let file = try open(layout, files)
        guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            let error = Errno.last
            if error != .wouldBlock { throw .disk(error) }
            throw .refused(
                CacheError(
                    .inUse, "the cache in \(layout.directory) is used by \(owner(file, files))",
                    remedy: "Stop that process, or give this one a cache directory of its own"))
        }
        // Only for the message above: a full disk does not matter.
        let pid = Array("\(getpid())\n".utf8)
        try? files.truncate(file, to: 0)
        _ = unsafe pid.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try unsafe files.write(file, bytes, at: 0) }
        }
        return CacheLock(file: file)
    }

    private static func open(
        _ layout: CacheLayout, _ files: any FileSystem
    ) throws(LockFailure) -> FileDescriptor {
        do throws(Errno) {
            return try files.open(layout.lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
        } catch { throw .disk(error) }
    }

    private init(file: consuming FileDescriptor) { self.file = file }

    private static func owner(_ file: borrowing FileDescriptor, _ files: any FileSystem) -> String {
        var text = [UInt8](repeating: 0, count: 16)
        let descriptor = file.rawValue
        let count = unsafe text.withUnsafeMutableBytes {
            unsafe pread(descriptor, $0.baseAddress, $0.count, 0)
        }
        let digits = text.prefix(max(0, count)).prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        return digits.isEmpty ? "another process" : "process \(String(decoding: digits, as: UTF8.self))"
    }
}

enum LockFailure: Error {
    case refused(CacheError)
    case disk(Errno)
}
