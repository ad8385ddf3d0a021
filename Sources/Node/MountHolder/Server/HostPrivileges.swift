package import FuseMount
import Glibc
package import System

/// mount(2), umount2(2) and the requests to /dev/fuse, with this process's privileges.
package struct HostPrivileges: MountPrivileges {
    private let allowed: AllowedDirectories

    package init(allowed: AllowedDirectories) { self.allowed = allowed }

    package func attach(_ options: MountOptions) throws(HolderRefusal) -> NewMount {
        do throws(MountError) {
            let mounter = Mounter(options)
            // Before the first look at the place itself: a refusal must not tell what is there.
            guard allowed.contain(options.mountPoint) else { throw MountError(options.mountPoint, .missing) }
            let mountPoint = try mounter.checkedMountPoint()
            guard allowed.contain(mountPoint) else { throw MountError(mountPoint, .missing) }
            let connection = try mounter.attachWithoutLinks(at: mountPoint)
            let finding = "finding the mount that was just made"
            let top: MountTableEntry?
            do throws(Errno) { top = try MountTable.entry(at: mountPoint) } catch {
                try? Mounter.detachWithoutLinks(mountPoint, lazily: true)
                throw MountError(mountPoint, .systemCall(name: finding, error: error))
            }
            // Gone already, or covered by something that is not this holder's to take away.
            guard let entry = top, entry.type == Mounter.fileSystemType else {
                throw MountError(mountPoint, .systemCall(name: finding, error: .noEntry))
            }
            return NewMount(connection: connection, mountPoint: mountPoint, device: entry.device)
        } catch {
            if !allowed.contain(error.mountPoint) { throw .notAllowed }
            throw .mount(error.cause)
        }
    }

    package func isConnection(_ descriptor: borrowing FileDescriptor) -> Bool {
        FuseConnection.isAlive(descriptor)
    }

    package func registerBacking(
        _ file: borrowing FileDescriptor, _ connection: Int32
    ) throws(Errno) -> Int32 {
        try FuseConnection.registerBacking(file.rawValue, device: connection)
    }

    package func dropBacking(_ id: Int32, _ connection: Int32) {
        FuseConnection.dropBacking(id, device: connection)
    }

    package func setReadAhead(_ mount: HeldMount, kibibytes: UInt32) throws(HolderRefusal) {
        do throws(Errno) {
            try Mounter.setReadAhead(ofDevice: mount.device, toKiB: Int(kibibytes))
        } catch {
            throw .mount(.systemCall(name: "setting read_ahead_kb", error: error))
        }
    }

    /// The agent has to bring the directory: so it gets nothing that it could not open itself. It is looked for again, since
    /// only what is in this process's own mount namespace can be copied.
    package func readOnlyTree(
        of directory: borrowing FileDescriptor, at path: ByteString
    ) throws(HolderRefusal) -> FileDescriptor {
        do throws(Errno) {
            let found = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            let (given, own) = (try directory.status(), try found.status())
            guard given.inode == own.inode, given.device == own.device else { throw .stale }
            return try ReadOnlyTree.make(of: found)
        } catch {
            throw .mount(.systemCall(name: "copying the mount of \(path)", error: error))
        }
    }

    package func unmount(_ mount: HeldMount, lazily: Bool) throws(HolderRefusal) {
        do throws(MountError) {
            guard allowed.contain(mount.mountPoint) else { throw MountError(mount.mountPoint, .notMounted) }
            try Mounter.unmount(mount.mountPoint, device: mount.device, lazily: lazily)
        } catch {
            throw .mount(error.cause)
        }
    }
}
