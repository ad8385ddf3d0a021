import CFuse3
import DatasetFS
import FuseMount
import Glibc
import Synchronization
import System

/// open and release, in the passthrough profile.
extension SessionCore {
    func open(_ request: fuse_req_t, _ inode: Inode, flags: Int32) {
        guard flags & O_ACCMODE == O_RDONLY else {
            unsafe fuse_reply_err(request, EROFS)
            return
        }
        let unique = requestNumber
        if let opened = openFiles.withLock({ $0.recorded(unique: unique) }) {
            if unsafe sendOpen(request, opened) != 0 { takeBack(opened.handle, of: inode) }
            return
        }
        let decision: OpenDecision
        do throws(Errno) {
            decision = try operations.open(inode)
        } catch {
            unsafe fuse_reply_err(request, error.rawValue)
            return
        }
        var isPassthrough = false
        if case .passthrough = decision { isPassthrough = true }
        let number = OpenFiles.Number(unique: unique, decidedPassthrough: isPassthrough)
        var outcome = openFiles.withLock { $0.join(inode, number) }
        if outcome == .free {
            // Registered outside the lock: it may be another process that does it.
            let wanted = choose(decision)
            outcome = openFiles.withLock { $0.open(inode, wanted: wanted, number) }
            if case .passthrough(let registered) = wanted, outcome.mode != wanted {
                control.dropBacking(registered, device: device)
            }
        }
        switch outcome {
        case .opened(let opened):
            // Not sent: the caller was killed meanwhile. The kernel knows nothing of this open.
            if unsafe sendOpen(request, opened) != 0 { takeBack(opened.handle, of: inode) }
        case .full:
            operations.release(inode, passthrough: isPassthrough)
            noticeOnce("so many files of this mount are open that further opens fail: close some")
            unsafe fuse_reply_err(request, ENFILE)
        case .free, .letGo:
            // Unanswered: the kernel sends it again to the process that goes on.
            operations.release(inode, passthrough: isPassthrough)
        }
    }

    func release(_ request: fuse_req_t, _ inode: Inode, handle: UInt64) {
        takeBack(handle, of: inode)
        unsafe fuse_reply_err(request, 0)
    }

    private func takeBack(_ handle: UInt64, of inode: Inode) {
        guard let release = openFiles.withLock({ $0.release(handle) }) else { return }
        if let backing = release.backing { control.dropBacking(backing, device: device) }
        if let decided = release.decidedPassthrough { operations.release(inode, passthrough: decided) }
    }

    private func choose(_ decision: OpenDecision) -> OpenModes.Prescribed {
        guard case .passthrough(let descriptor) = decision, mayPassThrough.load(ordering: .relaxed) else {
            return .cached
        }
        do throws(Errno) {
            return .passthrough(backing: try control.registerBacking(descriptor, device: device))
        } catch {
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
    private func sendOpen(_ request: fuse_req_t, _ opened: OpenFiles.Opened) -> Int32 {
        let keepCache: UInt32 = 1 << 1
        let passthrough: UInt32 = 1 << 7
        var reply: (handle: UInt64, flags: UInt32, backing: Int32)
        switch opened.mode {
        case .cached: reply = (opened.handle, keepCache, 0)
        case .passthrough(let backing):
            reply = (opened.handle, passthrough, backing)
            count(.passthroughOpens)
        }
        return unsafe withUnsafeBytes(of: &reply) { bytes in
            unsafe fuse_reply_buf(
                request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }

    /// The `unique` of the request that the calling worker has in hand, which libfuse does not hand out.
    private var requestNumber: UInt64 {
        withWorker { worker in
            guard let worker else { return 0 }
            return unsafe worker.request.loadUnaligned(fromByteOffset: Init.uniqueOffset, as: UInt64.self)
        }
    }
}
