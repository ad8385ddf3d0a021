package import System

/// Why a mount point could not be mounted or unmounted: where, what happened, and what to do about it.
package struct MountError: Error, Sendable, CustomStringConvertible {
    package enum Cause: Sendable, Hashable {
        case missing
        case notDirectory
        case notEmpty
        /// A mount of ours is there and its process answers.
        case alreadyMounted(source: ByteString)
        /// The path leads through a mount of ours.
        case belowMount(source: ByteString, at: ByteString)
        /// A FUSE mount whose process is gone: every access fails with ENOTCONN.
        case dead
        /// A FUSE mount that exists but did not answer in time.
        case unresponsive
        /// Something still uses the mount.
        case busy
        case notMounted
        case deviceMissing
        case deviceNotPermitted
        case helperMissing
        /// fusermount3 said no; its own words.
        case helperFailed(message: String)
        case otherUsersNotAllowed
        case systemCall(name: String, error: Errno)
        /// Whoever makes the mounts could not be asked, or refused; in its words.
        case holder(message: String)
    }

    package let mountPoint: ByteString
    package let cause: Cause

    package init(_ mountPoint: ByteString, _ cause: Cause) {
        self.mountPoint = mountPoint
        self.cause = cause
    }

    package var description: String { "\(mountPoint): \(what); \(advice)" }

    private var what: String {
        switch cause {
        case .missing: "the mount point does not exist"
        case .notDirectory: "the mount point is not a directory"
        case .notEmpty: "the mount point is not empty"
        case .alreadyMounted(let source): "\(source) is mounted here already"
        case .belowMount(let source, let above): "\(source) is mounted on \(above), which lies above"
        case .dead: "a FUSE mount is left here whose process is gone (transport endpoint is not connected)"
        case .unresponsive: "a FUSE mount is here that does not answer"
        case .busy: "the mount is in use"
        case .notMounted: "nothing is mounted here"
        case .deviceMissing: "/dev/fuse does not exist"
        case .deviceNotPermitted: "no permission to open /dev/fuse"
        case .helperMissing: "fusermount3 was not found, and mounting without it needs root"
        case .helperFailed(let message): "fusermount3 failed: \(message)"
        case .otherUsersNotAllowed: "other users may not be let in"
        case .systemCall(let name, let error): "\(name) failed: \(error)"
        case .holder(let message): message
        }
    }

    /// What the reader of the message can do.
    package var advice: String {
        switch cause {
        case .missing: "create it (mkdir -p)"
        case .notDirectory: "choose a directory"
        case .notEmpty: "choose an empty directory, or allow a non-empty one explicitly"
        case .alreadyMounted: "unmount it first, or choose another directory"
        case .belowMount(_, let above): "unmount \(above) first, or choose another directory"
        case .dead: "clear it with: umount -l \(mountPoint)  (a user's own: fusermount3 -uz \(mountPoint))"
        case .unresponsive: "restart the process that serves it, or clear it with: umount -l \(mountPoint)"
        case .busy: "close what uses it (fuser -vm \(mountPoint)), or unmount lazily"
        case .notMounted: "check the path"
        case .deviceMissing: "load the module (modprobe fuse), or give the container the device"
        case .deviceNotPermitted: "run as root, or give access to /dev/fuse"
        case .helperMissing: "install the package fuse3, or run as root"
        case .helperFailed: "check the mount point's owner and the limits in /etc/fuse.conf"
        case .otherUsersNotAllowed: "put user_allow_other into /etc/fuse.conf, or mount for this user only"
        case .systemCall(_, .notPermitted): "run as root (CAP_SYS_ADMIN)"
        case .systemCall(_, .noDevice): "load the module (modprobe fuse)"
        case .systemCall: "see the kernel log"
        case .holder:
            "see that kamld-holder runs (its socket is the agent's holder.socket), and with which --allow-under"
        }
    }
}
