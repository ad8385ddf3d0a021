import CCrypto
import Chunking
import FoundationEssentials
import KamlTestSupport
import Testing

/// The format's published vectors, written by Vectors/make-vectors.py from the definitions alone.
@Suite struct VectorTests {
    private struct Vectors: Decodable {
        var gear: [String]
        var splitmix64: Words
        var cdc: [Stream]
        var record: [Records]
    }

    private struct Words: Decodable {
        var seed: UInt64
        var words: [String]
    }

    private struct Stream: Decodable {
        var seed: UInt64
        var size: Int
        var sizes: [Int]
        var cuts: [Int]
    }

    private struct Records: Decodable {
        var seed: UInt64
        var count: Int
        var base: Int
        var spread: Int
        var sizes: [Int]
        var truncateTo: Int
        var cuts: [Int]
    }

    private let vectors: Vectors

    init() throws {
        let directory = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = directory.joined(separator: "/") + "/Vectors/chunking.json"
        vectors = try JSONDecoder().decode(Vectors.self, from: try Data(contentsOf: URL(filePath: path)))
    }

    @Test func gearTableIsDerivedFromItsName() throws {
        #expect(vectors.gear.compactMap { UInt64($0, radix: 16) } == GearTable.entries)
        for (index, entry) in GearTable.entries.enumerated() {
            let input = Array(GearTable.name.utf8) + [UInt8(index)]
            var digest = [UInt8](repeating: 0, count: 32)
            #expect(EVP_Digest(input, input.count, &digest, nil, EVP_sha256(), nil) == 1)
            #expect(Array(digest.prefix(8)) == littleEndian(entry), "entry \(index)")
        }
    }

    @Test func randomStream() {
        var random = SplitMix64(seed: vectors.splitmix64.seed)
        for word in vectors.splitmix64.words { #expect(random.next() == UInt64(word, radix: 16)) }
    }

    @Test func contentDefinedCuts() throws {
        for vector in vectors.cdc {
            var random = SplitMix64(seed: vector.seed)
            let bytes = random.bytes(vector.size)
            #expect(cuts(bytes, .cdc, try parameters(vector.sizes)) == vector.cuts, "seed \(vector.seed)")
        }
    }

    @Test func recordCuts() throws {
        for vector in vectors.record {
            var random = SplitMix64(seed: vector.seed)
            var bytes: [UInt8] = []
            for _ in 0..<vector.count { bytes += random.record(vector.base + random.below(vector.spread)) }
            bytes = Array(bytes.prefix(vector.truncateTo))
            #expect(cuts(bytes, .record, try parameters(vector.sizes)) == vector.cuts, "seed \(vector.seed)")
        }
    }

    /// RFC 3720 B.4 and the header of an empty record as TensorFlow writes it.
    @Test func checksums() {
        #expect([UInt8](repeating: 0, count: 32).withUnsafeBytes { CRC32C.checksum($0) } == 0x8A91_36AA)
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC32C.checksum($0) } == 0xE306_9283)
        #expect(CRC32C.masked(CRC32C.checksum(ofWord: 0)) == 0x0798_0329)
    }
}
