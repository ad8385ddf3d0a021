import Chunking
import Glibc
import KamlTestSupport
import System
import Testing

@Suite struct ProbeTests {
    private let seed = SeededRandom.explorationSeed()

    private func compressible(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { CompressionProbe.looksCompressible($0) }
    }

    @Test(arguments: [0, 1, 31, 32, 100, 1000, 4096, 4097, 5000, 65_536, 1 << 20])
    func randomBytesAreNot(_ count: Int) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20 { #expect(!compressible(random.bytes(count)), "seed \(seed)") }
    }

    /// What a JPEG looks like from here: Huffman codes with fixed tables, which leave some bytes up to twice as
    /// frequent, and a zero stuffed after every 0xFF.
    @Test func entropyCodedBytesAreNot() {
        var random = SplitMix64(seed: seed)
        var bytes: [UInt8] = []
        while bytes.count < 1 << 20 {
            let word = random.next()
            let byte = UInt8(truncatingIfNeeded: word >> 16 & (word % 8 == 0 ? 0x3F : 0xFF))
            bytes.append(byte)
            if byte == 0xFF { bytes.append(0) }
        }
        #expect(!compressible(bytes), "seed \(seed)")
    }

    @Test(arguments: [256, 5000, 1 << 20])
    func redundantBytesAre(_ count: Int) {
        var random = SplitMix64(seed: seed)
        let words = ["dataset", "the", "snapshot", "of", "a", "record", "is", "kept", "in", "its", "pack"]
        var text: [UInt8] = []
        while text.count < count { text += Array(words[random.below(words.count)].utf8) + [0x20] }
        #expect(compressible(Array(text.prefix(count))), "text, seed \(seed)")
        #expect(compressible([UInt8](repeating: 0, count: count)))

        var sparse = [UInt8](repeating: 0, count: count)
        for index in stride(from: 0, to: count, by: 7) { sparse[index] = UInt8(random.below(256)) }
        #expect(compressible(sparse), "sparse, seed \(seed)")

        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        #expect(compressible((0..<count).map { _ in alphabet[random.below(64)] }), "base64, seed \(seed)")

        let period = random.bytes(100)
        #expect(compressible((0..<count).map { period[$0 % 100] }), "periodic, seed \(seed)")
    }

    @Test func tensorsAre() {
        var random = SplitMix64(seed: seed)
        let floats = (0..<(1 << 18)).flatMap { _ in
            littleEndian(Float.random(in: -0.05...0.05, using: &random).bitPattern)
        }
        #expect(compressible(floats), "seed \(seed)")
        let tokens = (0..<(1 << 18)).flatMap { _ in littleEndian(UInt32(random.below(50_000))) }
        #expect(compressible(tokens), "seed \(seed)")
    }

    @Test func machineCodeIs() throws {
        let file = try FileDescriptor.open("/proc/self/exe", O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = try bytes.withUnsafeMutableBytes { raw throws(Errno) in try file.read(into: raw, at: 0) }
        #expect(compressible(Array(bytes.prefix(count))))
    }

    @Test func zeroBytes() {
        for count in [0, 1, 7, 127, 128, 129, 300, 4096] {
            var bytes = [UInt8](repeating: 0, count: count)
            #expect(bytes.withUnsafeBytes { isZero($0) })
            for index in 0..<count {
                bytes[index] = 0x80
                #expect(!bytes.withUnsafeBytes { isZero($0) }, "byte \(index) of \(count)")
                bytes[index] = 0
            }
        }
        let odd = [UInt8](repeating: 0, count: 1000)
        #expect(odd.withUnsafeBytes { isZero(UnsafeRawBufferPointer(rebasing: $0[3..<997])) })
    }
}
