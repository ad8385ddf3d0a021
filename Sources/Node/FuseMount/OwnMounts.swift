import CKamlSys
import Glibc
package import System

/// Mounts that this process makes itself and that end with it.
package struct OwnMounts: MountHolding {
    package init() {}

    package func attach(
        _ options: MountOptions, description: [UInt8]
    ) throws(MountError) -> AttachedMount {
        try Mounter(options).attach()
    }
}

/// Does for a mount what takes privileges with those that this process has.
final class OwnMountControl: MountControl {
    private let mounter: Mounter
    var mountPoint: ByteString { mounter.options.mountPoint }

    init(_ mounter: Mounter) { self.mounter = mounter }

    func note(_ handshake: Handshake) {}

    func registerBacking(_ descriptor: Int32, device: Int32) throws(Errno) -> Int32 {
        try FuseConnection.registerBacking(descriptor, device: device)
    }

    func dropBacking(_ id: Int32, device: Int32) { FuseConnection.dropBacking(id, device: device) }
    func keepBackings(_ ids: Set<Int32>, device: Int32) {}
    func raiseReadAhead(toKiB kibibytes: Int) throws(MountError) {
        try mounter.raiseReadAhead(toKiB: kibibytes)
    }
    func detach(lazily: Bool) throws(MountError) { try mounter.detach(lazily: lazily) }
    func ended() {}
}

/// The requests to /dev/fuse that libfuse 3.14 does not know.
package enum FuseConnection {
    /// Registers a file for passthrough; returns its backing id, which is above 0. Needs CAP_SYS_ADMIN.
    package static func registerBacking(_ descriptor: Int32, device: Int32) throws(Errno) -> Int32 {
        let id = kaml_fuse_backing_open(device, descriptor)
        if id <= 0 { throw id < 0 ? .last : .invalid }
        return id
    }

    /// Has the kernel send again every request that was read from the connection and not answered, with bit 63 of its
    /// number set (kernel 6.9). They are in the queue when this returns.
    package static func requestResend(_ device: Int32) throws(Errno) {
        // struct fuse_out_header of a notification: length, FUSE_NOTIFY_RESEND as the error, no number.
        let message: (length: UInt32, code: Int32, number: UInt64) = (16, 7, 0)
        _ = try unsafe withUnsafeBytes(of: message) { bytes throws(Errno) in
            try retryingOnInterrupt { unsafe write(device, bytes.baseAddress, bytes.count) }
        }
    }

    /// Whether a descriptor is /dev/fuse with a connection that the kernel has not ended.
    package static func isAlive(_ device: borrowing FileDescriptor) -> Bool {
        var status = stat()
        // Character device 10:229 (Documentation/admin-guide/devices.txt).
        guard unsafe fstat(device.rawValue, &status) == 0, status.st_mode & S_IFMT == S_IFCHR,
            status.st_rdev == 10 << 8 | 229
        else { return false }
        var poll = pollfd(fd: device.rawValue, events: 0, revents: 0)
        return unsafe Glibc.poll(&poll, 1, 0) == 0
    }

    package static func dropBacking(_ id: Int32, device: Int32) { _ = kaml_fuse_backing_close(device, id) }
}
