import CKamlSys
import Glibc
package import System

/// The two ways to mount.
extension Mounter {
    /// Mounts at a path that may be mounted over (`checkedMountPoint`), on the word of somebody without privileges:
    /// a symlink that is put into the path meanwhile is not followed.
    package func attachWithoutLinks(at mountPoint: ByteString) throws(MountError) -> FileDescriptor {
        let directory: FileDescriptor
        do throws(Errno) { directory = try Self.openWithoutLinks(mountPoint) } catch {
            throw Self.error(mountPoint, "opening the mount point", error)
        }
        return try attachDirectly(at: mountPoint, target: ByteString("/proc/self/fd/\(directory.rawValue)"))
    }

    /// The directory itself, without asking its file system anything.
    static func openWithoutLinks(_ path: ByteString) throws(Errno) -> FileDescriptor {
        let pathOnly: Int32 = 0o10000000  // O_PATH, which Swift's Glibc lacks
        let root = try FileDescriptor.open("/", pathOnly | O_DIRECTORY)
        let relative = ByteString(Array(path.bytes.drop { $0 == UInt8(ascii: "/") }))
        let opened = unsafe (relative.isEmpty ? "." : relative).withCString {
            unsafe kaml_open_beneath(root.rawValue, $0, pathOnly | O_DIRECTORY, 0)
        }
        if opened < 0 { throw .last }
        return FileDescriptor(owning: opened)
    }

    func attachDirectly(
        at mountPoint: ByteString, target: ByteString? = nil
    ) throws(MountError) -> FileDescriptor {
        let device: FileDescriptor
        do throws(Errno) {
            device = try FileDescriptor.open("/dev/fuse", O_RDWR)
        } catch {
            switch error {
            case .noEntry, .noDevice, Errno(rawValue: ENXIO): throw MountError(mountPoint, .deviceMissing)
            case .accessDenied, .notPermitted: throw MountError(mountPoint, .deviceNotPermitted)
            default: throw MountError(mountPoint, .systemCall(name: "opening /dev/fuse", error: error))
            }
        }
        var data =
            "fd=\(device.rawValue),rootmode=40000,user_id=\(geteuid()),group_id=\(getegid())"
            + ",default_permissions,max_read=\(Self.maxReadBytes)"
        if options.allowOther { data += ",allow_other" }
        let flags = UInt(1 /* MS_RDONLY */ | 2 /* MS_NOSUID */ | 4 /* MS_NODEV */)
        let status = unsafe (target ?? mountPoint).withCString { target in
            unsafe options.source.withCString { source in
                unsafe Self.fileSystemType.withCString { type in
                    unsafe data.withCString { unsafe mount(source, target, type, flags, $0) }
                }
            }
        }
        if status < 0 { throw Self.error(mountPoint, "mount", .last) }
        return device
    }

    func attachThroughHelper(at mountPoint: ByteString) throws(MountError) -> FileDescriptor {
        guard let helper = MountHelper() else { throw MountError(mountPoint, .helperMissing) }
        if options.allowOther, !Self.usersMayAllowOthers {
            throw MountError(mountPoint, .otherUsersNotAllowed)
        }
        // fusermount3 adds nosuid and nodev itself, and makes the type "fuse." + subtype.
        var list = ByteString(
            Array("ro,subtype=kaml,default_permissions,max_read=\(Self.maxReadBytes)".utf8)
                + (options.allowOther ? Array(",allow_other".utf8) : []) + Array(",fsname=".utf8))
        for byte in options.source.bytes {
            let isSpecial = byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\\")
            if isSpecial { list.bytes.append(UInt8(ascii: "\\")) }
            list.bytes.append(byte)
        }
        do throws(MountHelper.Failure) {
            return try helper.mount(mountPoint, options: list)
        } catch {
            throw Self.error(mountPoint, error)
        }
    }

    /// Whether /etc/fuse.conf has `user_allow_other` on a line by itself.
    package static var usersMayAllowOthers: Bool {
        guard let text = try? readSmallFile("/etc/fuse.conf") else { return false }
        return text.split(separator: UInt8(ascii: "\n")).contains { line in
            line.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
                .elementsEqual("user_allow_other".utf8)
        }
    }
}
