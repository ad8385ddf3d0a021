import Glibc

/// A file mapped for reading, or memory that became read-only; unmapped when its owner lets it go.
///
/// The kernel copies from it in `writev` without risk. Code that touches the bytes itself must know that
/// the file cannot shrink, else the access raises SIGBUS.
@safe package struct MappedRegion: ~Copyable, @unchecked Sendable {
    // Sendable: the mapping is read-only and moves with its one owner.
    package let bytes: UnsafeRawBufferPointer

    /// Maps `length` bytes of `file` from its start, shared.
    package init(_ file: borrowing FileDescriptor, length: Int) throws(Errno) {
        guard length > 0 else { throw .invalid }
        let address = unsafe mmap(nil, length, PROT_READ, MAP_SHARED, file.rawValue, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno.last }
        unsafe bytes = unsafe UnsafeRawBufferPointer(start: address, count: length)
    }

    /// `length` bytes of memory, filled by `fill` and then read-only.
    package init(
        anonymous length: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Errno) -> Void
    ) throws(Errno) {
        guard length > 0 else { throw .invalid }
        let address = unsafe mmap(
            nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno.last }
        do throws(Errno) {
            try unsafe fill(UnsafeMutableRawBufferPointer(start: address, count: length))
            guard unsafe mprotect(address, length, PROT_READ) == 0 else { throw Errno.last }
        } catch {
            unsafe munmap(address, length)
            throw error
        }
        unsafe bytes = unsafe UnsafeRawBufferPointer(start: address, count: length)
    }

    deinit { unsafe munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
