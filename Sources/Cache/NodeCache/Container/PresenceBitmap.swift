import Synchronization

/// Two bits for each chunk: present (verified once and written) and trusted (and nothing happened since that
/// could have lost it, such as a power cut). A trusted chunk is always present.
///
/// Lives on the heap, not in a mapped file: a hole in a file on a full disk, or a page on a failing one,
/// would raise SIGBUS at a bit. ContainerDisk writes the words through.
@safe final class PresenceBitmap: @unchecked Sendable {
    // Sendable: the pointer never changes, and what it points at are atomics.
    let count: Int
    /// Pairs of words, present then trusted, of 64 chunks each.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    var pairCount: Int { Self.pairCount(chunks: count) }

    static func pairCount(chunks: Int) -> Int { (chunks + 63) / 64 }

    /// All bits clear.
    init(count: Int) {
        self.count = count
        let total = Self.pairCount(chunks: count) * 2
        unsafe words = .allocate(capacity: total)
        for index in 0..<total { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe words.deinitialize(count: pairCount * 2)
        unsafe words.deallocate()
    }

    /// False for a chunk that the pack does not have, since the index comes from outside.
    @inline(__always)
    func isTrusted(_ chunk: Int) -> Bool {
        guard chunk >= 0, chunk < count else { return false }
        return unsafe words[(chunk >> 6) * 2 + 1].load(ordering: .acquiring) & (1 << UInt64(chunk & 63)) != 0
    }

    @inline(__always)
    func areTrusted(_ chunks: Range<Int>) -> Bool {
        guard chunks.lowerBound >= 0, chunks.upperBound <= count else { return false }
        var chunk = chunks.lowerBound
        while chunk < chunks.upperBound {
            let first = chunk & 63
            let taken = min(64 - first, chunks.upperBound - chunk)
            let mask = (taken == 64 ? UInt64.max : (1 << UInt64(taken)) - 1) << UInt64(first)
            if unsafe words[(chunk >> 6) * 2 + 1].load(ordering: .acquiring) & mask != mask { return false }
            chunk += taken
        }
        return true
    }

    func isPresent(_ chunk: Int) -> Bool {
        guard chunk >= 0, chunk < count else { return false }
        return unsafe words[(chunk >> 6) * 2].load(ordering: .acquiring) & (1 << UInt64(chunk & 63)) != 0
    }

    /// Sets both bits; whether the trusted one was clear before.
    func set(_ chunk: Int) -> Bool {
        let (pair, bit) = ((chunk >> 6) * 2, UInt64(1) << UInt64(chunk & 63))
        unsafe words[pair].bitwiseOr(bit, ordering: .releasing)
        return unsafe words[pair + 1].bitwiseOr(bit, ordering: .acquiringAndReleasing).oldValue & bit == 0
    }

    /// Clears both bits; whether the trusted one was set before.
    func clear(_ chunk: Int) -> Bool {
        let (pair, bit) = ((chunk >> 6) * 2, UInt64(1) << UInt64(chunk & 63))
        let wasTrusted =
            unsafe words[pair + 1].bitwiseAnd(~bit, ordering: .acquiringAndReleasing).oldValue & bit != 0
        unsafe words[pair].bitwiseAnd(~bit, ordering: .releasing)
        return wasTrusted
    }

    /// Keeps a chunk present but not trusted; whether it was trusted before.
    func distrust(_ chunk: Int) -> Bool {
        let (pair, bit) = ((chunk >> 6) * 2, UInt64(1) << UInt64(chunk & 63))
        return unsafe words[pair + 1].bitwiseAnd(~bit, ordering: .acquiringAndReleasing).oldValue & bit != 0
    }

    /// The two words of 64 chunks, as they are now.
    func pair(_ index: Int) -> (present: UInt64, trusted: UInt64) {
        unsafe (words[index * 2].load(ordering: .acquiring), words[index * 2 + 1].load(ordering: .acquiring))
    }

    /// Fills 64 chunks from a file. Bits beyond the last chunk, and trust in absent ones, are dropped.
    func load(_ index: Int, present: UInt64, trusted: UInt64) {
        let last = count - index * 64
        let mask = last >= 64 ? UInt64.max : (1 << UInt64(max(0, last))) - 1
        unsafe words[index * 2].store(present & mask, ordering: .relaxed)
        unsafe words[index * 2 + 1].store(trusted & present & mask, ordering: .releasing)
    }

    /// Clears all bits.
    func clear() {
        for index in 0..<pairCount { load(index, present: 0, trusted: 0) }
    }

    /// Counts trusted chunks, word by word.
    func countTrusted() -> Int {
        (0..<pairCount).reduce(0) { $0 + pair($1).trusted.nonzeroBitCount }
    }
}
