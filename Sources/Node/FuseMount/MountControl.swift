package import System

/// The connection of one mount with the kernel, in the hands of the process that will serve it.
package struct AttachedMount: ~Copyable, Sendable {
    /// /dev/fuse, as it was when the mount was made.
    package let device: FileDescriptor
    /// What lasts longer than the process: the table of open files (`OpenFileTable`).
    package let openFiles: FileDescriptor
    /// What an earlier process agreed with the kernel; `nil` when INIT is still to come.
    package let handshake: Handshake?
    package let control: any MountControl

    package init(
        device: consuming FileDescriptor, openFiles: consuming FileDescriptor, handshake: Handshake?,
        control: any MountControl
    ) {
        self.device = device
        self.openFiles = openFiles
        self.handshake = handshake
        self.control = control
    }

    /// Gives the descriptors up without closing them.
    package consuming func release() -> (device: Int32, openFiles: Int32) {
        (device.release(), openFiles.release())
    }
}

/// What a mount needs somebody with privileges for, once it is made. The methods may be called from any thread.
package protocol MountControl: AnyObject, Sendable {
    var mountPoint: ByteString { get }
    /// Keeps what was agreed with the kernel for the process that may have to go on.
    func note(_ handshake: Handshake) throws(MountError)
    /// Registers a file that the kernel may read by itself; returns its backing id. `device` is the mount's own.
    func registerBacking(_ descriptor: Int32, device: Int32) throws(Errno) -> Int32
    func dropBacking(_ id: Int32, device: Int32)
    /// Drops every registered file but these: what a process that died had registered and told nobody of.
    func keepBackings(_ ids: Set<Int32>, device: Int32)
    /// Raises the kernel's read-ahead. Only once the session serves: the answer to INIT sets it anew.
    func raiseReadAhead(toKiB kibibytes: Int) throws(MountError)
    /// Unmounts. `lazily` takes the mount out of the tree at once and lets open files work on until closed.
    func detach(lazily: Bool) throws(MountError)
    /// The session has seen the end of the connection: nothing needs to be kept for it any more.
    func ended()
}

/// Who makes mounts: this process, or one that outlives it.
package protocol MountHolding: Sendable {
    /// Mounts. The mount answers nothing before a `FuseSession` serves it. `description` is kept with it, where
    /// somebody outlives this process, so that the next one knows what it is.
    func attach(_ options: MountOptions, description: [UInt8]) throws(MountError) -> AttachedMount
}
