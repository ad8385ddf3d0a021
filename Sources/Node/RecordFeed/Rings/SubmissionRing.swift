package import CKamlFeed
package import System

/// The ring in which a pod gives batches back. Everything in it is the pod's word, which may be a lie: each word is read
/// once, and only the copy is looked at. One thread at a time.
@safe package final class SubmissionRing {
    package let memory: SharedMemory
    package let slots: UInt64
    /// Entries that were taken.
    package private(set) var taken: UInt64 = 0
    private let header: UnsafeMutableRawPointer

    /// `slots`: a power of two, at most `KAML_FEED_MOST_SLOTS`.
    package init(slots: Int) throws(Errno) {
        guard slots > 0, slots & (slots - 1) == 0, slots <= Int(KAML_FEED_MOST_SLOTS) else { throw .invalid }
        self.slots = UInt64(slots)
        memory = try SharedMemory(
            name: "kaml-submissions",
            count: Int(KAML_FEED_HEADER_BYTES) + slots * Int(KAML_FEED_ENTRY_BYTES), writers: .everybody)
        guard let base = unsafe memory.bytes.baseAddress else { throw .invalid }
        unsafe header = base
        var first = kaml_submission_header()
        first.magic = KAML_FEED_MAGIC_SUBMISSION
        first.version = UInt32(KAML_FEED_VERSION)
        first.slots = UInt32(slots)
        unsafe header.storeBytes(of: first, as: kaml_submission_header.self)
    }

    /// Calls `body` with each entry that was published since.
    ///
    /// - Throws: `FeedMisuse` when the pod's index runs ahead of what can be, and what `body` throws.
    package func take(_ body: (kaml_submission) throws(FeedMisuse) -> Void) throws(FeedMisuse) {
        let tail = unsafe SharedWords.load64(header, Field.tail)
        guard tail &- taken <= slots else {
            throw FeedMisuse("the submission ring's tail is \(tail), after \(taken) of \(slots) slots")
        }
        while taken != tail {
            let slot = Int(taken & (slots - 1)) * Int(KAML_FEED_ENTRY_BYTES)
            let entry = unsafe header + Int(KAML_FEED_HEADER_BYTES) + slot
            var copy = kaml_submission()
            copy.kind = unsafe UInt32(truncatingIfNeeded: SharedWords.load64(entry, 0))
            copy.sequence = unsafe SharedWords.load64(entry, 8)
            copy.used_nanoseconds = unsafe SharedWords.load64(entry, 16)
            copy.waited_nanoseconds = unsafe SharedWords.load64(entry, 24)
            taken += 1
            try body(copy)
        }
    }

    /// Whether entries wait to be taken.
    package var hasEntries: Bool { unsafe SharedWords.load64(header, Field.tail) != taken }

    /// How many descriptors the pod has taken of `published`.
    ///
    /// - Throws: `FeedMisuse` for more than there are.
    package func descriptorsTaken(of published: UInt64) throws(FeedMisuse) -> UInt64 {
        let count = unsafe SharedWords.load64(header, Field.taken)
        guard count <= published else {
            throw FeedMisuse("the pod has taken \(count) descriptors of \(published)")
        }
        return count
    }

    /// Whether the pod has to be woken after a descriptor was published.
    @inline(__always)
    package var podSleeps: Bool { unsafe SharedWords.load32(header, Field.podSleeps) != 0 }

    private enum Field {
        static let tail = offset(\.tail)
        static let taken = offset(\.taken)
        static let podSleeps = offset(\.pod_sleeps)

        private static func offset(_ path: PartialKeyPath<kaml_submission_header>) -> Int {
            MemoryLayout<kaml_submission_header>.offset(of: path) ?? 0
        }
    }
}

/// What a pod did that no pod has a reason to do: its session ends.
package struct FeedMisuse: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
