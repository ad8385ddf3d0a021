package import CKamlFeed
package import System

/// The ring in which batches are given out: written here, sealed against every other writer. One thread at a time.
@safe package final class CompletionRing {
    package let memory: SharedMemory
    /// A power of two.
    package let slots: UInt64
    /// Descriptors that were published.
    package private(set) var tail: UInt64 = 0
    private let header: UnsafeMutableRawPointer

    /// `slots`: a power of two, at most `KAML_FEED_MOST_SLOTS`.
    package init(slots: Int) throws(Errno) {
        guard slots > 0, slots & (slots - 1) == 0, slots <= Int(KAML_FEED_MOST_SLOTS) else { throw .invalid }
        self.slots = UInt64(slots)
        memory = try SharedMemory(
            name: "kaml-completions",
            count: Int(KAML_FEED_HEADER_BYTES) + slots * Int(KAML_FEED_DESCRIPTOR_BYTES),
            writers: .thisProcess
        )
        guard let base = unsafe memory.bytes.baseAddress else { throw .invalid }
        unsafe header = base
        var first = kaml_completion_header()
        first.magic = KAML_FEED_MAGIC_COMPLETION
        first.version = UInt32(KAML_FEED_VERSION)
        first.slots = UInt32(slots)
        unsafe header.storeBytes(of: first, as: kaml_completion_header.self)
    }

    /// Makes a descriptor visible. The caller has seen that its slot is free.
    @inline(__always)
    package func publish(_ descriptor: kaml_descriptor) {
        let slot = Int(tail & (slots - 1)) * Int(KAML_FEED_DESCRIPTOR_BYTES)
        unsafe (header + Int(KAML_FEED_HEADER_BYTES) + slot).storeBytes(
            of: descriptor, as: kaml_descriptor.self)
        tail += 1
        unsafe SharedWords.store64(header, Field.tail, tail)
        unsafe SharedWords.store32(header, Field.wake, UInt32(truncatingIfNeeded: tail))
    }

    /// To be called when the pod may sleep on `wake`.
    package func wakePod() { unsafe SharedWords.wake(header, Field.wake) }

    /// How many submission entries were taken.
    package func tellTaken(_ count: UInt64) { unsafe SharedWords.store64(header, Field.taken, count) }

    /// Whether the pod has to wake the agent after it has published an entry.
    package func tellSleeping(_ sleeps: Bool) {
        unsafe SharedWords.store32(header, Field.agentSleeps, sleeps ? 1 : 0)
    }

    private enum Field {
        static let tail = offset(\.tail)
        static let wake = offset(\.wake)
        static let taken = offset(\.taken)
        static let agentSleeps = offset(\.agent_sleeps)

        private static func offset(_ path: PartialKeyPath<kaml_completion_header>) -> Int {
            MemoryLayout<kaml_completion_header>.offset(of: path) ?? 0
        }
    }
}
