import Glibc
import System

/// Zeros to answer holes from: one mapping a mount, never written, so it costs one page of memory.
@safe final class ZeroPages: @unchecked Sendable {
    // Sendable: immutable.
    /// As much as one read can ask for.
    static let count = 1 << 20
    let base: UnsafeMutableRawPointer

    init() throws(Errno) {
        let address = unsafe mmap(nil, Self.count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno.last }
        unsafe base = unsafe address
    }

    deinit { unsafe munmap(base, Self.count) }
}
