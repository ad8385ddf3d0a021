import System
import Glibc
import Synchronization

/// splitmix64: the same words from the same seed, in every language (constants in `next`).
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// The words, little-endian; whole words are drawn and the last one is cut.
    package mutating func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        var offset = 0
        while offset + 8 <= buffer.count {
            buffer.storeBytes(of: next().littleEndian, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        guard offset < buffer.count else { return }
        withUnsafeBytes(of: next().littleEndian) { word in
            for index in offset..<buffer.count { buffer[index] = word[index - offset] }
        }
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            fill(UnsafeMutableRawBufferPointer(buffer))
            initialized = count
        }
    }
}

/// The random source of a test: a failure replays from its seed.
package final class SeededRandom: RandomSource {
    package let seed: UInt64
    private let generator: Mutex<SplitMix64>

    package init(seed: UInt64) {
        self.seed = seed
        generator = Mutex(SplitMix64(seed: seed))
    }

    package func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        // The pointer does not outlive the call, whatever the lock's signature makes of it.
        nonisolated(unsafe) let buffer = buffer
        generator.withLock { $0.fill(buffer) }
    }

    /// The seed for a test that explores: `KAML_TEST_SEED`, or a new one every run.
    package static func explorationSeed() -> UInt64 {
        if let text = getenv("KAML_TEST_SEED"), let seed = UInt64(String(cString: text)) { return seed }
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}
