import CKamlSys
import Chunking
import Glibc
import System

/// An open directory of an export's target, below which everything is done by single names: no path is
/// resolved by the kernel, so no symlink, not even one put there meanwhile, leads out of the target.
final class TargetDirectory: Sendable {
    private let descriptor: FileDescriptor
    /// For messages.
    let path: ByteString

    private init(_ descriptor: consuming FileDescriptor, path: ByteString) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Opens the directory that the user named, or makes it. The user's own symlinks to it are followed.
    static func openRoot(_ path: ByteString, overwrites: Bool) throws(StoreError) -> TargetDirectory {
        do throws(Errno) {
            do throws(Errno) { try HostFileSystem().makeDirectory(path, mode: 0o755) } catch .alreadyExists {}
            let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
            if !overwrites, try !DirectoryReader.entries(of: directory).isEmpty {
                throw .alreadyExists
            }
            return TargetDirectory(directory, path: path)
        } catch .alreadyExists {
            throw StoreError(
                .conflict, "the target \(path) is not empty",
                remedy: "Choose another directory, or replace files in it with --force")
        } catch .notDirectory {
            throw StoreError(
                .conflict, "the target \(path) is not a directory", remedy: "Choose another name")
        } catch .noEntry {
            throw StoreError(
                .notFound, "the directory above \(path) does not exist", remedy: "Make it with mkdir -p")
        } catch { throw StoreError(error, "cannot use the target", path) }
    }

    /// Opens a directory below this one by its path, in which no part may be a symlink.
    func open(_ relative: ByteString) throws(StoreError) -> TargetDirectory {
        do throws(Errno) {
            let opened = try FileDescriptor.open(
                beneath: descriptor.rawValue, relative, O_RDONLY | O_DIRECTORY)
            return TargetDirectory(opened, path: path.appending(relative))
        } catch { throw StoreError(error, "cannot enter a directory", path.appending(relative)) }
    }

    /// Makes a directory; one that is there stays when files may be replaced.
    func makeDirectory(_ name: ByteString, overwrites: Bool) throws(StoreError) {
        try unsafe making(name, overwrites: overwrites, keepsDirectory: true) { name in
            unsafe mkdirat(descriptor.rawValue, name, 0o700)
        }
    }

    func makeSymlink(_ name: ByteString, to target: ByteString, overwrites: Bool) throws(StoreError) {
        try unsafe target.withCString { target throws(StoreError) in
            try unsafe making(name, overwrites: overwrites) { name in
                unsafe symlinkat(target, descriptor.rawValue, name)
            }
        }
    }

    /// A new file for writing; never one that was there, which may have other names elsewhere.
    func makeFile(_ name: ByteString, overwrites: Bool) throws(StoreError) -> FileDescriptor {
        var opened: Int32 = -1
        try unsafe making(name, overwrites: overwrites) { name in
            opened = unsafe openat(
                descriptor.rawValue, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_t(0o600)
            )
            return opened
        }
        return FileDescriptor(owning: opened)
    }

    func makeLink(_ name: ByteString, to other: TargetDirectory, _ otherName: ByteString, overwrites: Bool)
        throws(StoreError)
    {
        try unsafe otherName.withCString { otherName throws(StoreError) in
            try unsafe making(name, overwrites: overwrites) { name in
                unsafe linkat(other.descriptor.rawValue, otherName, descriptor.rawValue, name, 0)
            }
        }
    }

    func remove(_ name: ByteString) {
        unsafe name.withCString { _ = unsafe unlinkat(descriptor.rawValue, $0, 0) }
    }

    /// Owner and time of a symlink itself.
    func setSymlinkAttributes(_ name: ByteString, _ entry: ManifestEntry, restoresOwner: Bool)
        throws(StoreError)
    {
        let failed = unsafe name.withCString { name in
            if restoresOwner,
                unsafe fchownat(descriptor.rawValue, name, entry.userID, entry.groupID, AT_SYMLINK_NOFOLLOW)
                    < 0
            {
                return true
            }
            var times = Self.times(entry.modified)
            return unsafe utimensat(descriptor.rawValue, name, &times, AT_SYMLINK_NOFOLLOW) < 0
        }
        if failed { throw StoreError(Errno.last, "cannot set the attributes of", path.appending(name)) }
    }

    /// Attributes of this directory itself, when all below it is done.
    func setAttributes(_ entry: ManifestEntry, _ options: ExportOptions) throws(StoreError) -> UInt64 {
        try Self.setAttributes(of: descriptor, path, entry, options)
    }

    /// Owner first, since a change of owner clears the special bits; time last. Returns how many extended
    /// attributes the file system refused.
    static func setAttributes(
        of file: borrowing FileDescriptor, _ path: ByteString, _ entry: ManifestEntry,
        _ options: ExportOptions
    ) throws(StoreError) -> UInt64 {
        var lost: UInt64 = 0
        do throws(Errno) {
            let descriptor = file.rawValue
            for attribute in entry.attributes where !attribute.isReserved {
                let status = unsafe attribute.name.withCString { name in
                    unsafe attribute.value.withUnsafeBytes {
                        unsafe kaml_fsetxattr(descriptor, name, $0.baseAddress, $0.count)
                    }
                }
                if status < 0 { lost += 1 }
            }
            if options.restoresOwners {
                _ = try retryingOnInterrupt { fchown(descriptor, entry.userID, entry.groupID) }
            }
            let bits: UInt32 = options.restoresSpecialBits ? 0o7777 : 0o1777
            _ = try retryingOnInterrupt { fchmod(descriptor, entry.mode & bits) }
            var times = times(entry.modified)
            _ = try retryingOnInterrupt { unsafe futimens(descriptor, &times) }
        } catch { throw StoreError(error, "cannot set the attributes of", path) }
        return lost
    }

    private static func times(_ modified: Timestamp) -> [timespec] {
        // The time of access is left as it is.
        [
            timespec(tv_sec: 0, tv_nsec: Int((1 << 30) - 2) /* UTIME_OMIT */),
            timespec(tv_sec: time_t(modified.seconds), tv_nsec: Int(modified.nanoseconds)),
        ]
    }

    /// Runs a call that makes `name`; when something else has the name and may be replaced, removes that and
    /// runs it again.
    private func making(
        _ name: ByteString, overwrites: Bool, keepsDirectory: Bool = false,
        _ make: (UnsafePointer<CChar>) -> Int32
    ) throws(StoreError) {
        do throws(Errno) {
            try unsafe name.withCString { name throws(Errno) in
                do throws(Errno) { _ = try retryingOnInterrupt { unsafe make(name) } } catch .alreadyExists {
                    guard overwrites else { throw .alreadyExists }
                    let isDirectory =
                        try unsafe FileStatus.of(name, in: descriptor.rawValue).kind == .directory
                    if isDirectory, keepsDirectory { return }
                    // A directory that is not empty stays in the way: nobody asked for its contents to go.
                    if unsafe unlinkat(descriptor.rawValue, name, isDirectory ? AT_REMOVEDIR : 0) < 0 {
                        throw .last
                    }
                    _ = try retryingOnInterrupt { unsafe make(name) }
                }
            }
        } catch { throw StoreError(error, "cannot make", path.appending(name)) }
    }
}

extension StoreError {
    /// A failed system call on the target of an export.
    init(_ error: Errno, _ doing: String, _ path: ByteString) {
        let code: Code =
            switch error {
            case .noSpace, .quotaExceeded: .noSpace
            case .accessDenied, .notPermitted, .readOnlyFileSystem: .permissionDenied
            case .alreadyExists, .isDirectory, .notDirectory, .loop: .conflict
            case .noSystemCall: .unsupported
            default: error.rawValue == ENOTEMPTY ? .conflict : .inputOutput
            }
        self.init(code, "\(doing) \(path)", cause: error)
    }
}
