import CKamlSys
import Glibc
import NodeCache
package import System

extension HostFacts {
    /// Looks at this machine. `cacheDirectory` need not exist yet.
    package static func gather(cacheDirectory: ByteString) -> HostFacts {
        var facts = HostFacts()
        facts.kernelRelease = kernelRelease()
        facts.isRoot = geteuid() == 0
        facts.hasSystemAdministration = capabilities() >> 21 & 1 == 1
        facts.fuseDevice = access("/dev/fuse", O_RDWR)
        facts.mountHelper = helper()
        if let helper = facts.mountHelper, let status = try? HostFileSystem().status(of: helper) {
            facts.helperIsSetuid = status.mode & 0o4000 != 0 && status.userID == 0
        }
        facts.allowsOtherUsers = lines(of: "/etc/fuse.conf").contains("user_allow_other")
        var limit = rlimit()
        if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            facts.descriptorLimit = UInt64(limit.rlim_cur)
            facts.descriptorHardLimit = UInt64(limit.rlim_max)
        }
        facts.cacheDirectory = cacheDirectory
        facts.cacheIsEncrypted = NodeCache.isEncrypted(cacheDirectory)
        facts.cacheDisk = disk(of: cacheDirectory)
        facts.now = HostClock().now()
        return facts
    }

    static func kernelRelease() -> String {
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return "" }
        return unsafe withUnsafeBytes(of: name.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// The effective capabilities of this process; 0 when the kernel does not say.
    private static func capabilities() -> UInt64 {
        let prefix = "CapEff:"
        guard let line = lines(of: "/proc/self/status").first(where: { $0.hasPrefix(prefix) }) else {
            return 0
        }
        let digits = String(line.dropFirst(prefix.count).drop(while: \.isWhitespace))
        return UInt64(digits, radix: 16) ?? 0
    }

    private static func access(_ path: ByteString, _ flags: Int32) -> Access {
        do throws(Errno) {
            _ = try FileDescriptor.open(path, flags)
            return .ok
        } catch { return .failed(error) }
    }

    private static func helper() -> ByteString? {
        let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
        for directory in path.split(separator: ":").map(String.init) + ["/usr/bin", "/bin"] {
            let candidate = ByteString(directory).appending("fusermount3")
            if unsafe candidate.withCString({ unsafe Glibc.access($0, X_OK) }) == 0 { return candidate }
        }
        return nil
    }

    private static func lines(of path: ByteString) -> [String] {
        guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return [] }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe (try? file.read(into: buffer, at: 0)) ?? 0
        }
        return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The disk that holds `path`, or will once it is made: that of the nearest directory that is there.
    private static func disk(of path: ByteString) -> Disk? {
        var directory = path
        while true {
            var figures = kaml_file_system()
            if unsafe directory.withCString({ unsafe kaml_file_system_of($0, &figures) }) == 0 {
                let writable = unsafe directory.withCString { unsafe Glibc.access($0, W_OK | X_OK) } == 0
                return Disk(
                    path: directory, type: figures.type, totalBytes: figures.blocks * figures.block_size,
                    freeBytes: figures.available_blocks * figures.block_size, totalInodes: figures.inodes,
                    freeInodes: figures.free_inodes, writing: writable ? .ok : .failed(.last))
            }
            guard Errno.last == .noEntry, directory != "/", let slash = directory.bytes.lastIndex(of: 0x2F)
            else {
                return nil
            }
            directory = slash == 0 ? "/" : ByteString(Array(directory.bytes[..<slash]))
        }
    }
}
