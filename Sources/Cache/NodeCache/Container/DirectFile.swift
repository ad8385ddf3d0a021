import Glibc
import System

/// A container's data file opened for writes past the page cache (O_DIRECT), from the first such write until the container
/// is complete or the disk turns out to take none.
final class DirectFile: Sendable {
    private enum State {
        case unopened
        case open(Descriptor)
        case refused
    }

    private final class Descriptor: Sendable {
        let file: FileDescriptor
        init(_ file: consuming FileDescriptor) { self.file = file }
    }

    private let state = Monitor(State.unopened)

    /// Writes whole pages. False when that cannot be done here; throws when the disk did not take them.
    func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, of data: borrowing FileDescriptor,
        _ path: ByteString, _ context: CacheContext
    ) throws(Errno) -> Bool {
        guard let descriptor = descriptor(of: data, path, context) else { return false }
        let start = context.clock.monotonicNanoseconds()
        do throws(Errno) {
            try context.timed { () throws(Errno) in
                try unsafe context.files.write(descriptor.file, bytes, at: offset)
            }
            let now = context.clock.monotonicNanoseconds()
            context.directPace.withLock { $0.wrote(bytes.count, in: now &- start, now: now) }
            return true
        } catch .invalid {
            // The disk's blocks are larger than pages, or something like it.
            state.withLock { $0 = .refused }
            return false
        }
    }

    /// Gives the descriptor back; the next write opens it again.
    func close() { state.withLock { if case .open = $0 { $0 = .unopened } } }

    private func descriptor(
        of data: borrowing FileDescriptor, _ path: ByteString, _ context: CacheContext
    ) -> Descriptor? {
        switch state.withLock({ $0 }) {
        case .refused: return nil
        case .open(let descriptor): return descriptor
        case .unopened: break
        }
        var opened: Descriptor?
        do throws(Errno) {
            let file = try context.files.open(
                path, O_WRONLY | FileDescriptor.directFlag | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            let (found, own) = (try context.files.status(of: file), try context.files.status(of: data))
            // Moved away under the cache: the file that is open goes on being the container.
            if found.inode == own.inode, found.device == own.device { opened = Descriptor(file) }
        } catch {}
        return state.withLock { state in
            if case .open(let first) = state { return first }
            state = opened.map { .open($0) } ?? .refused
            return opened
        }
    }
}
