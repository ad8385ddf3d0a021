import CFuse3
import DatasetFS
import Glibc
import System
import Telemetry

/// read.
extension SessionCore {
    @inline(__always)
    func read(_ request: fuse_req_t, _ inode: Inode, _ size: Int, _ offset: off_t) {
        let completion = unsafe ReadCompletion(
            context: UnsafeMutableRawPointer(request), deliver: Self.deliver)
        guard let start = UInt64(exactly: offset), size >= 0 else {
            unsafe completion.deliver(completion.context, nil, 0, EINVAL)
            return
        }
        operations.read(inode, offset: start, length: size, completion: completion)
    }

    /// On any thread. The request is its own context, so that a hit allocates and retains nothing here.
    private static let deliver: ReadCompletion.Deliver = { context, segments, count, error in
        let request = OpaquePointer(context)
        guard let userdata = unsafe fuse_req_userdata(request) else { return }
        unsafe Unmanaged<SessionCore>.fromOpaque(userdata)._withUnsafeGuaranteedRef { core in
            if error > 0 {
                unsafe fuse_reply_err(request, error)
            } else if count == 0 {
                unsafe fuse_reply_buf(request, nil, 0)
            } else if let segments = unsafe segments?.assumingMemoryBound(to: iovec.self) {
                let pieces = unsafe UnsafeBufferPointer(start: segments, count: count)
                var bytes = 0
                for index in pieces.indices { unsafe bytes &+= pieces[index].iov_len }
                // Before the reply: whoever has read the bytes finds them counted.
                core.count(.readBytes, UInt64(bytes))
                unsafe reply(request, pieces, bytes)
                if error != ReadCompletion.fetched { core.noteHit(bytes) }
            } else {
                unsafe fuse_reply_err(request, EIO)
            }
            // Last: once all are answered the session may be freed.
            core.count(.readsAnswered)
        }
    }

    /// A read was answered from what was at hand, on the thread that received it.
    @inline(__always)
    private func noteHit(_ bytes: Int) {
        withWorker { worker in
            guard let received = worker?.requestTime, received != 0 else { return }
            metrics.durations.record(HostClock().monotonicNanoseconds() &- received, .container)
            metrics.bytes.add(UInt64(bytes), .container)
        }
    }

    private static func reply(_ request: fuse_req_t, _ pieces: UnsafeBufferPointer<iovec>, _ bytes: Int) {
        if pieces.count == 1 {
            // Unlike fuse_reply_iov, which copies the list into fresh memory.
            unsafe Self.reply(
                request, UnsafeRawBufferPointer(start: pieces[0].iov_base, count: pieces[0].iov_len))
        } else if pieces.count <= Limits.segments {
            unsafe fuse_reply_iov(request, pieces.baseAddress, Int32(truncatingIfNeeded: pieces.count))
        } else {
            unsafe replyCopied(request, pieces, bytes)
        }
    }

    /// A megabyte of very small chunks: more pieces than writev(2) takes, which would leave the request
    /// unanswered for ever.
    private static func replyCopied(
        _ request: fuse_req_t, _ pieces: UnsafeBufferPointer<iovec>, _ bytes: Int
    ) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 16)
        defer { unsafe copy.deallocate() }
        var filled = 0
        for index in pieces.indices {
            let source = unsafe UnsafeRawBufferPointer(
                start: pieces[index].iov_base, count: pieces[index].iov_len)
            unsafe UnsafeMutableRawBufferPointer(rebasing: copy[filled...]).copyMemory(from: source)
            filled += source.count
        }
        unsafe reply(request, UnsafeRawBufferPointer(copy))
    }
}
