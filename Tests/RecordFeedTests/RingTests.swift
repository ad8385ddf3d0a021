import CKamlFeed
import Glibc
import System
import Testing

@testable import RecordFeed

/// The shared memory: what is written where, and who else can write it.
@Suite struct RingTests {
    @Test("a descriptor is in its slot before the tail tells of it")
    func publish() throws {
        let ring = try CompletionRing(slots: 4)
        for sequence in 0..<UInt64(6) {
            var descriptor = kaml_descriptor()
            descriptor.sequence = sequence
            ring.publish(descriptor)
        }
        let bytes = UnsafeRawBufferPointer(ring.memory.bytes)
        #expect(bytes.load(as: UInt32.self) == KAML_FEED_MAGIC_COMPLETION)
        #expect(bytes.load(fromByteOffset: 64, as: UInt64.self) == 6)
        #expect(bytes.load(fromByteOffset: 72, as: UInt32.self) == 6)
        // Slot 1 was used again by the sixth.
        #expect(bytes.load(fromByteOffset: 4096 + 64, as: UInt64.self) == 5)
    }

    @Test("entries are taken once each, in order; what runs ahead is misuse")
    func take() throws {
        let ring = try SubmissionRing(slots: 4)
        let base = ring.memory.bytes.baseAddress!
        for index in 0..<3 {
            (base + 4096 + index * 32).storeBytes(of: 1, as: UInt32.self)
            (base + 4096 + index * 32).storeBytes(of: UInt64(10 + index), toByteOffset: 8, as: UInt64.self)
        }
        base.storeBytes(of: 3, toByteOffset: 64, as: UInt64.self)
        var sequences: [UInt64] = []
        try ring.take { sequences.append($0.sequence) }
        try ring.take { sequences.append($0.sequence) }
        #expect(sequences == [10, 11, 12])
        base.storeBytes(of: 8, toByteOffset: 64, as: UInt64.self)
        #expect(throws: FeedMisuse.self) { try ring.take { _ in } }
        base.storeBytes(of: 2, toByteOffset: 64, as: UInt64.self)
        #expect(throws: FeedMisuse.self) { try ring.take { _ in } }
    }

    @Test("a pod cannot have taken more than was published")
    func taken() throws {
        let ring = try SubmissionRing(slots: 4)
        #expect(try ring.descriptorsTaken(of: 3) == 0)
        ring.memory.bytes.storeBytes(of: 4, toByteOffset: 128, as: UInt64.self)
        #expect(throws: FeedMisuse.self) { try ring.descriptorsTaken(of: 3) }
    }

    @Test("rings have a power of two of slots, within bounds", arguments: [0, 3, 8192])
    func sizes(slots: Int) {
        #expect(throws: Errno.invalid) { try CompletionRing(slots: slots) }
        #expect(throws: Errno.invalid) { try SubmissionRing(slots: slots) }
    }

    /// Every way of changing sealed memory that a holder of its descriptor has.
    static let attacks: [(name: String, run: @Sendable (Int32) -> Int32)] = [
        ("pwrite", { Int32(pwrite($0, "x", 1, 0)) }),
        (
            "mmap for writing",
            { mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, $0, 0) == MAP_FAILED ? -1 : 0 }
        ),
        (
            "mprotect",
            { file in
                let address = mmap(nil, 4096, PROT_READ, MAP_SHARED, file, 0)
                defer { munmap(address, 4096) }
                return mprotect(address, 4096, PROT_READ | PROT_WRITE)
            }
        ),
        ("ftruncate to less", { ftruncate($0, 0) }), ("ftruncate to more", { ftruncate($0, 1 << 30) }),
        (
            "punch a hole",
            { file in
                let address = mmap(nil, 4096, PROT_READ, MAP_SHARED, file, 0)
                defer { munmap(address, 4096) }
                return madvise(address, 4096, MADV_REMOVE)
            }
        ),
        ("more seals", { fcntl($0, 1033, 0x0008) }),
        (
            "open again for writing, and write",
            { file in
                let again = open("/proc/self/fd/\(file)", O_RDWR)
                guard again >= 0 else { return -1 }
                defer { close(again) }
                return Int32(pwrite(again, "x", 1, 0))
            }
        ),
        (
            "open again and map for writing",
            { file in
                let again = open("/proc/self/fd/\(file)", O_RDWR)
                guard again >= 0 else { return -1 }
                defer { close(again) }
                return mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED ? -1 : 0
            }
        ),
        (
            "open again and truncate",
            { file in open("/proc/self/fd/\(file)", O_RDWR | O_TRUNC) < 0 ? -1 : 0 }
        ),
    ]

    @Test("nobody but the agent's own mapping changes what it gives out", arguments: attacks.map(\.name))
    func seals(attack: String) throws {
        let memory = try SharedMemory(name: "test", count: 16 << 10, writers: .thisProcess)
        memory.bytes.storeBytes(of: 0x1234, as: UInt32.self)
        guard let attack = Self.attacks.first(where: { $0.name == attack }) else { return }
        let copy = dup(memory.descriptor.rawValue)
        defer { close(copy) }
        #expect(attack.run(copy) < 0)
        #expect([EPERM, EACCES].contains(errno))
        #expect(memory.bytes.load(as: UInt32.self) == 0x1234)
        // The owner goes on.
        memory.bytes.storeBytes(of: 7, as: UInt32.self)
        #expect(UnsafeRawBufferPointer(memory.bytes).load(as: UInt32.self) == 7)
    }

    @Test("memory that a pod writes keeps its size")
    func sharedSize() throws {
        let memory = try SharedMemory(name: "test", count: 8192, writers: .everybody)
        let file = memory.descriptor.rawValue
        #expect(pwrite(file, "x", 1, 0) == 1)
        #expect(ftruncate(file, 0) < 0)
        #expect(ftruncate(file, 1 << 20) < 0)
    }
}
