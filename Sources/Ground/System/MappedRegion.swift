import Glibc

/// A file mapped for reading, unmapped when its owner lets it go.
///
/// The kernel copies from it in `writev` without risk. Code that touches the bytes itself must know that
/// the file cannot shrink, else the access raises SIGBUS.
package struct MappedRegion: ~Copyable, @unchecked Sendable {
    // Sendable: the mapping is read-only and moves with its one owner.
    package let bytes: UnsafeRawBufferPointer

    /// Maps `length` bytes of `file` from its start, shared, with the protection given.
    package init(
        _ file: borrowing FileDescriptor, length: Int, writable: Bool = false
    ) throws(Errno) {
        guard length > 0 else { throw .invalid }
        let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
        let address = mmap(nil, length, protection, MAP_SHARED, file.rawValue, 0)
        guard let address, address != MAP_FAILED else { throw Errno.last }
        bytes = UnsafeRawBufferPointer(start: address, count: length)
    }

    /// The same bytes for writing; only for a region that was mapped writable.
    package var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(mutating: bytes) }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }

    /// Drops this process's page table entries for a range (MADV_DONTNEED): the page cache keeps the bytes,
    /// the process's resident size does not count them.
    package borrowing func forget(_ range: Range<Int>) {
        let page = 4096
        let start = range.lowerBound / page * page
        guard let base = bytes.baseAddress, range.upperBound <= bytes.count else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, MADV_DONTNEED)
    }
}
