import CFuse3
import CKamlSys
import DatasetFS
import Glibc
import Synchronization
import System

/// open and release, in the passthrough profile.
extension SessionCore {
    /// What an open leaves in the kernel's file handle for its release: no state per open file here.
    private struct Handle: OptionSet {
        let rawValue: UInt64
        /// `operations` decided for passthrough, and is told of the release in the same words.
        static let decidedPassthrough = Handle(rawValue: 1)
    }

    func open(_ request: fuse_req_t, _ inode: Inode, flags: Int32) {
        guard flags & O_ACCMODE == O_RDONLY else {
            unsafe fuse_reply_err(request, EROFS)
            return
        }
        let decision: OpenDecision
        do throws(Errno) {
            decision = try operations.open(inode)
        } catch {
            unsafe fuse_reply_err(request, error.rawValue)
            return
        }
        var handle: Handle = []
        if case .passthrough = decision { handle = .decidedPassthrough }
        // The ioctl is under the lock: two first opens of an inode must end up with one backing id.
        let mode = openModes.withLock { modes in
            let mode = modes.prescribed(for: inode) ?? choose(decision)
            modes.opened(inode, as: mode)
            return mode
        }
        if unsafe sendOpen(request, mode, handle) == 0 { return }
        // The caller was killed meanwhile: the kernel knows nothing of this open and will not release it.
        undo(inode, handle)
    }

    func release(_ request: fuse_req_t, _ inode: Inode, handle: UInt64) {
        undo(inode, Handle(rawValue: handle))
        unsafe fuse_reply_err(request, 0)
    }

    private func undo(_ inode: Inode, _ handle: Handle) {
        openModes.withLock { modes in
            if let backing = modes.released(inode) { kaml_fuse_backing_close(device, backing) }
        }
        operations.release(inode, passthrough: handle.contains(.decidedPassthrough))
    }

    private func choose(_ decision: OpenDecision) -> OpenModes.Prescribed {
        guard case .passthrough(let descriptor) = decision, mayPassThrough.load(ordering: .relaxed) else {
            return .cached
        }
        let backing = kaml_fuse_backing_open(device, descriptor)
        if backing > 0 { return .passthrough(backing: backing) }
        let error = Errno.last
        switch error.rawValue {
        case EPERM, EOPNOTSUPP, ENOTTY, ENOSYS, ELOOP:
            // It will be the same for every other file: of privileges, kernel or cache directory.
            mayPassThrough.store(false, ordering: .relaxed)
            noticeOnce("passthrough is off, reads go through the agent: \(Self.reason(error))")
        default:
            noticeOnce("a file could not be passed through, its reads go through the agent: \(error)")
        }
        return .cached
    }

    private static func reason(_ error: Errno) -> String {
        switch error.rawValue {
        case EPERM: "registering a file needs CAP_SYS_ADMIN"
        case ELOOP: "the cache directory lies on a stacked file system (overlayfs, FUSE passthrough)"
        default: "the kernel refused (\(error))"
        }
    }

    private func noticeOnce(_ text: String) {
        if !hasNoticedBacking.exchange(true, ordering: .relaxed) { notice(text) }
    }

    /// struct fuse_open_out, by hand: libfuse 3.14 sends zero where the kernel now looks for the backing id.
    private func sendOpen(_ request: fuse_req_t, _ mode: OpenModes.Prescribed, _ handle: Handle) -> Int32 {
        let keepCache: UInt32 = 1 << 1
        let passthrough: UInt32 = 1 << 7
        var reply: (handle: UInt64, flags: UInt32, backing: Int32)
        switch mode {
        case .cached: reply = (handle.rawValue, keepCache, 0)
        case .passthrough(let backing):
            reply = (handle.rawValue, passthrough, backing)
            count(.passthroughOpens)
        }
        return unsafe withUnsafeBytes(of: &reply) { bytes in
            unsafe fuse_reply_buf(
                request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }
}
