import Glibc
package import System

/// What to mount and where.
package struct MountOptions: Sendable {
    package var mountPoint: ByteString
    /// The first column of mount(8) and df(1), as `kaml:imagenet@main`.
    package var source: ByteString
    /// Lets users other than the mounting one in. A user needs `user_allow_other` in /etc/fuse.conf.
    package var allowOther: Bool
    /// Mounts over a directory that has entries, which hides them.
    package var allowNonEmpty = false

    package init(mountPoint: ByteString, source: ByteString, allowOther: Bool) {
        self.mountPoint = mountPoint
        self.source = source
        self.allowOther = allowOther
    }
}

/// Mounts and unmounts one mount point: with mount(2) as root, through fusermount3 as a user.
package struct Mounter: Sendable {
    package static let fileSystemType: ByteString = "fuse.kaml"
    /// The largest READ. libfuse 3.14 knows requests of 256 pages, which is also the kernel's default limit.
    package static let maxReadBytes = 1 << 20

    package let options: MountOptions
    let isPrivileged: Bool

    package init(_ options: MountOptions) {
        self.init(options, isPrivileged: geteuid() == 0)
    }

    init(_ options: MountOptions, isPrivileged: Bool) {
        self.options = options
        self.isPrivileged = isPrivileged
    }

    /// Mounts, and returns the connection to the kernel. The mount answers nothing before a `FuseSession`
    /// serves that descriptor.
    package func attach() throws(MountError) -> AttachedMount {
        let openFiles: FileDescriptor
        do throws(Errno) { openFiles = try OpenFilesMemory.make() } catch {
            throw MountError(options.mountPoint, .systemCall(name: "memfd_create", error: error))
        }
        return AttachedMount(
            device: try attachDevice(), openFiles: openFiles, handshake: nil, control: OwnMountControl(self))
    }

    /// Mounts, and returns the connection alone.
    package func attachDevice() throws(MountError) -> FileDescriptor {
        let mountPoint = try checkedMountPoint()
        return isPrivileged ? try attachDirectly(at: mountPoint) : try attachThroughHelper(at: mountPoint)
    }

    /// Unmounts. `lazily` takes the mount out of the tree at once and lets open files work on until closed.
    package func detach(lazily: Bool = false) throws(MountError) {
        try Self.unmount(options.mountPoint, lazily: lazily)
    }

    /// Unmounts whatever FUSE mount is at a path: also the way to clear one whose process is gone.
    package static func unmount(_ path: ByteString, lazily: Bool) throws(MountError) {
        let mountPoint: ByteString
        do throws(Errno) {
            mountPoint = try MountTable.canonical(path)
            // Never anything else: as root, umount2 would take any file system away.
            guard let entry = try MountTable.entry(at: mountPoint), entry.isFuse else { throw .invalid }
        } catch .invalid {
            throw MountError(path, .notMounted)
        } catch .noEntry {
            throw MountError(path, .missing)
        } catch {
            throw MountError(path, .systemCall(name: "looking up the mount", error: error))
        }
        if geteuid() != 0 {
            guard let helper = MountHelper() else { throw MountError(path, .helperMissing) }
            do throws(MountHelper.Failure) {
                try helper.unmount(mountPoint, lazily: lazily)
            } catch {
                throw Self.error(mountPoint, error)
            }
            return
        }
        // UMOUNT_NOFOLLOW: the path was resolved above; a symlink put there since is not ours.
        let flags = Int32(8 /* UMOUNT_NOFOLLOW */) | (lazily ? Int32(2 /* MNT_DETACH */) : 0)
        if unsafe mountPoint.withCString({ unsafe umount2($0, flags) }) == 0 { return }
        switch Errno.last {
        case .busy: throw MountError(mountPoint, .busy)
        case .invalid: throw MountError(mountPoint, .notMounted)
        case let error: throw MountError(mountPoint, .systemCall(name: "umount2", error: error))
        }
    }

    /// Unmounts our mount of this device number at a path that is free of symlinks, and no other: for somebody
    /// without privileges, who may have put another in its place, or lie about the number.
    package static func unmount(
        _ mountPoint: ByteString, device: ByteString, lazily: Bool
    ) throws(MountError) {
        do throws(Errno) {
            let mounts = try MountTable.read().filter { $0.mountPoint == mountPoint }
            let isOurs = mounts.contains { $0.device == device && $0.type == fileSystemType }
            guard let top = mounts.last, isOurs else { throw .invalid }
            // Another mount covers it.
            if top.device != device { throw .busy }
            try detachWithoutLinks(mountPoint, lazily: lazily)
        } catch {
            switch error {
            case .busy: throw MountError(mountPoint, .busy)
            case .invalid, .noEntry: throw MountError(mountPoint, .notMounted)
            default: throw MountError(mountPoint, .systemCall(name: "umount2", error: error))
            }
        }
    }

    /// Unmounts whatever is topmost at an absolute path, following no symlink: for a caller who knows that it is ours.
    package static func detachWithoutLinks(_ mountPoint: ByteString, lazily: Bool) throws(Errno) {
        guard let slash = mountPoint.bytes.lastIndex(of: UInt8(ascii: "/")) else { throw .invalid }
        let parent = try openWithoutLinks(ByteString(Array(mountPoint.bytes[..<slash])))
        let path = ByteString("/proc/self/fd/\(parent.rawValue)")
            .appending(ByteString(Array(mountPoint.bytes[(slash + 1)...])))
        let flags = Int32(8 /* UMOUNT_NOFOLLOW */) | (lazily ? Int32(2 /* MNT_DETACH */) : 0)
        if unsafe path.withCString({ unsafe umount2($0, flags) }) < 0 { throw .last }
    }

    /// Raises the kernel's read-ahead for this mount (needs root; a user keeps the kernel's 128 KiB).
    ///
    /// Only once the session serves: the answer to INIT sets it anew.
    package func raiseReadAhead(toKiB kibibytes: Int = 4096) throws(MountError) {
        do throws(Errno) {
            let mountPoint = try MountTable.canonical(options.mountPoint)
            guard let entry = try MountTable.entry(at: mountPoint) else {
                throw .noEntry
            }
            try Self.setReadAhead(ofDevice: entry.device, toKiB: kibibytes)
        } catch {
            throw MountError(options.mountPoint, .systemCall(name: "setting read_ahead_kb", error: error))
        }
    }

    /// Of the mount with this device number (`major:minor`).
    package static func setReadAhead(ofDevice device: ByteString, toKiB kibibytes: Int) throws(Errno) {
        guard device.bytes.allSatisfy({ $0 == UInt8(ascii: ":") || (0x30...0x39).contains($0) }) else {
            throw .invalid
        }
        let path = ByteString("/sys/class/bdi").appending(device).appending("read_ahead_kb")
        let file = try FileDescriptor.open(path, O_WRONLY)
        let text = ByteString(String(kibibytes))
        try unsafe text.withCString { bytes throws(Errno) in
            try unsafe file.write(UnsafeRawBufferPointer(start: bytes, count: text.count), at: 0)
        }
    }
}
