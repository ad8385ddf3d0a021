import Glibc
import System

/// Zeros to answer holes from: one mapping a mount, never written, so it costs one page of memory.
final class ZeroPages: @unchecked Sendable {
    // Sendable: immutable.
    /// As much as one read can ask for.
    static let count = 1 << 20
    let base: UnsafeMutableRawPointer

    init() throws(Errno) {
        let address = mmap(nil, Self.count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, address != MAP_FAILED else { throw Errno.last }
        base = address
    }

    deinit { munmap(base, Self.count) }
}
