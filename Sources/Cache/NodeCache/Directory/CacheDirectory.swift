import Glibc
import System

/// Makes or checks a cache's directory and takes its lock.
enum CacheDirectory {
    /// Nil when the directory cannot be written: the cache then works without a disk.
    static func open(
        _ layout: CacheLayout, _ files: any FileSystem, _ sealing: CacheSealing?, notice: (String) -> Void
    ) throws(CacheError) -> CacheLock? {
        do throws(Errno) {
            try files.makeDirectories(layout.directory, mode: 0o700)
        } catch  where isDiskTrouble(error) {
            notice(withoutDisk(layout, error))
            return nil
        } catch {
            throw unusable(layout, "cannot be made", error)
        }
        try checkOwner(layout, files)
        do throws(LockFailure) {
            let lock = try CacheLock.take(layout, files)
            let found = try prepare(layout, files)
            try SealMarker(layout, files, sealing).settle(version: found, notice)
            return lock
        } catch {
            switch error {
            case .refused(let refusal): throw refusal
            case .disk(let errno) where isDiskTrouble(errno):
                notice(withoutDisk(layout, errno))
                return nil
            case .disk(let errno): throw unusable(layout, "cannot be used", errno)
            }
        }
    }

    static func isDiskTrouble(_ error: Errno) -> Bool {
        [.noSpace, .quotaExceeded, .readOnlyFileSystem, .inputOutput].contains(error)
    }

    /// Whether there is a cache in the directory.
    static func isCache(_ layout: CacheLayout, _ files: any FileSystem) -> Bool {
        ((try? version(layout, files)) ?? nil) != nil
    }

    private static func checkOwner(_ layout: CacheLayout, _ files: any FileSystem) throws(CacheError) {
        let status: FileStatus
        do throws(Errno) {
            let directory = try files.open(layout.directory, O_RDONLY | O_DIRECTORY)
            status = try files.status(of: directory)
        } catch { throw unusable(layout, "cannot be opened", error) }
        guard status.userID == geteuid() else {
            throw CacheError(
                .unusable, "the cache directory \(layout.directory) belongs to user \(status.userID)",
                remedy: "Use a directory of user \(geteuid()), or give this one to them with chown")
        }
        guard status.mode & 0o002 == 0 else {
            throw CacheError(
                .unusable, "everybody may write into the cache directory \(layout.directory)",
                remedy: "Remove it if you do not know what is in it, or run chmod 0700 on it")
        }
    }

    /// The version that was there, if any.
    private static func prepare(
        _ layout: CacheLayout, _ files: any FileSystem
    ) throws(LockFailure) -> Int? {
        var found: Int?
        do throws(Errno) {
            found = try version(layout, files)
        } catch { throw .disk(error) }
        if let found, found > CacheLayout.version {
            throw .refused(
                CacheError(
                    .unsupported,
                    "the cache in \(layout.directory) has format version \(found), this kaml knows \(CacheLayout.version)",
                    remedy: "Update kaml, or remove the directory: it is only a cache"))
        }
        do throws(Errno) {
            for folder in [layout.containers, layout.manifests] {
                do throws(Errno) { try files.makeDirectory(folder, mode: 0o700) } catch .alreadyExists {}
            }
            if found == nil { try write(CacheLayout.clearVersion, layout, files) }
        } catch { throw .disk(error) }
        return found
    }

    static func write(_ version: Int, _ layout: CacheLayout, _ files: any FileSystem) throws(Errno) {
        try replaceFile(layout.version, Array("\(version)\n".utf8), suffix: "\(getpid())", files)
    }

    /// Nil when there is no VERSION yet. A damaged one counts as none: every file of the cache has its own checks.
    private static func version(_ layout: CacheLayout, _ files: any FileSystem) throws(Errno) -> Int? {
        do throws(Errno) {
            let text = try readFile(layout.version, limit: 32, files)
            return Int(String(decoding: text.prefix { $0 >= 0x30 && $0 <= 0x39 }, as: UTF8.self))
        } catch .noEntry { return nil }
    }

    private static func unusable(_ layout: CacheLayout, _ what: String, _ error: Errno) -> CacheError {
        CacheError(
            .unusable, "the cache directory \(layout.directory) \(what)", cause: error,
            remedy: "Name a directory that this user can write, on a local disk")
    }

    private static func withoutDisk(_ layout: CacheLayout, _ error: Errno) -> String {
        "the cache in \(layout.directory) cannot be written (\(error)): nothing is cached, every read goes to the store"
    }
}

/// A small file's bytes, at most `limit` of them.
func readFile(_ path: ByteString, limit: Int, _ files: any FileSystem) throws(Errno) -> [UInt8] {
    let file = try files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    guard try files.status(of: file).kind == .regular else { throw .invalid }
    var bytes = [UInt8](repeating: 0, count: limit)
    // Arrays' withUnsafeMutableBytes has no typed throws, so the result crosses as a value.
    let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in try unsafe files.read(file, into: buffer, at: 0) }
    }
    return Array(bytes.prefix(try outcome.get()))
}

/// Replaces a small file whole. Not synced: who reads it checks it.
func replaceFile(
    _ path: ByteString, _ bytes: [UInt8], suffix: String, _ files: any FileSystem
) throws(Errno) {
    let temporary = ByteString(path.bytes + Array(".\(suffix).tmp".utf8))
    do throws(Errno) {
        let file = try files.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        let outcome = unsafe bytes.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try unsafe files.write(file, bytes, at: 0) }
        }
        try outcome.get()
        try files.rename(temporary, path)
    } catch {
        try? files.unlink(temporary)
        throw error
    }
}
