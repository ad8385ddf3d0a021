import DatasetStore
import Glibc
import Synchronization

/// Keeps the process's resident size small although it answers from mappings.
///
/// A reply from a mapping leaves its pages in this process's page table, so that after a day of reads the
/// process would seem as large as the cache. Every `limit` bytes of replies the page tables of the containers that
/// were replied from since the last time are dropped; the
/// page cache keeps the bytes, and the next reply maps them again at a minor fault for each 16 pages.
final class ResidentLimit: Sendable {
    /// Bytes of replies between two drops.
    static let limit = 16 << 20

    private let replied = Atomic<Int>(0)

    /// Whether the caller is the one that crossed the limit and has to drop.
    @inline(__always)
    func isCrossed(by bytes: Int) -> Bool {
        let before = replied.add(bytes, ordering: .relaxed).oldValue
        return before / Self.limit != (before &+ bytes) / Self.limit
    }
}

extension Container {
    /// Notes that a reply takes bytes from the mapping. Before the reply, or its pages could be missed for ever.
    @inline(__always)
    package func touch() {
        if !isTouched.load(ordering: .relaxed) { isTouched.store(true, ordering: .relaxed) }
        if !isUsed.load(ordering: .relaxed) { isUsed.store(true, ordering: .relaxed) }
    }

    /// Drops this process's page table entries of the mapping (MADV_DONTNEED on a shared file mapping).
    func forgetResidentPages() {
        guard isTouched.exchange(false, ordering: .relaxed), enter() else { return }
        defer { leave() }
        guard hasDisk, !isSealed else { return }
        unsafe madvise(UnsafeMutableRawPointer(mutating: bytes), Int(pack.containerSize), MADV_DONTNEED)
    }
}
