import Chunking
import KamlTestSupport
import System
import Testing

@Suite struct FileClassifierTests {
    private let classifier = FileClassifier(.standard)
    private let large: UInt64 = 2 << 20

    private func kind(_ name: ByteString, _ head: [UInt8], size: UInt64? = nil) -> ChunkerKind {
        head.withUnsafeBytes { classifier.classify(size: size ?? large, name: name, head: $0) }
    }

    private static let noise: [UInt8] = {
        var random = SplitMix64(seed: 31)
        return random.bytes(64 << 10)
    }()

    private static let record = frame([1, 2, 3], trailer: 0) + noise

    @Test func sizeGoesFirst() {
        #expect(kind("a.tfrecord", Self.record, size: 1 << 20) == .whole)
        #expect(kind("a.tfrecord", Self.record, size: (1 << 20) + 1) == .record)
        #expect(kind("empty", [], size: 0) == .whole)
    }

    @Test func recordsByContentOrName() {
        #expect(kind("anything", Self.record) == .record)
        #expect(kind("train-00001-of-00128", Self.record) == .record)
        for name: ByteString in ["a.tfrecord", "A.TFRecords", "b.tfrec", "x.tfrecord-00001-of-00128"] {
            #expect(kind(name, []) == .record, "\(name)")
            #expect(kind(name, Self.noise) == .record, "\(name)")
            #expect(kind(name, [0x1F, 0x8B, 8] + Self.noise) == .fixed, "\(name) as gzip")
            #expect(kind(name, [0x78, 0x9C] + Self.noise) == .fixed, "\(name) as zlib")
        }
        // Shards of other formats are numbered in the same way.
        for name: ByteString in [
            "model.ckpt.data-00000-of-00001", "train-00001-of-00128", "-of-", "1-of-2", "",
        ] {
            #expect(kind(name, Self.noise) == .fixed, "\(name)")
        }
    }

    @Test func contentDefinedFormats() {
        #expect(kind("x", Array("PAR1".utf8) + Self.noise) == .cdc)
        #expect(kind("x", Array("ARROW1\0\0".utf8) + Self.noise) == .cdc)
        #expect(kind("data.arrow", [0xFF, 0xFF, 0xFF, 0xFF] + Self.noise) == .cdc)
        #expect(kind("x", [UInt8](repeating: 0, count: 257) + Array("ustar".utf8) + Self.noise) == .cdc)
        #expect(kind("train-00000-of-00041.parquet", []) == .cdc)
        #expect(kind("x.JSONL", []) == .cdc)
        #expect(kind("x", Array(String(repeating: "{\"text\": \"hello\"}\n", count: 3000).utf8)) == .cdc)
        #expect(kind("x", Array(String(repeating: "Größe и содержание 数据\n", count: 2000).utf8)) == .cdc)
    }

    @Test func binariesAreFixed() {
        let magics: [[UInt8]] = [
            [0x1F, 0x8B, 8], [0x28, 0xB5, 0x2F, 0xFD], [0xFF, 0xD8, 0xFF, 0xE0],
            [0x89] + Array("PNG\r\n".utf8),
            [0, 0, 0, 0x20] + Array("ftypisom".utf8), [0x93] + Array("NUMPY".utf8), [0x50, 0x4B, 3, 4],
            [0x89] + Array("HDF\r\n".utf8), [0x7F] + Array("ELF".utf8), [],
        ]
        for magic in magics {
            #expect(kind("x.jsonl", magic + Self.noise) == (magic.isEmpty ? .cdc : .fixed))
        }
        #expect(kind("x", Self.noise) == .fixed)
        #expect(kind("x", [UInt8](repeating: 0, count: 64 << 10)) == .fixed)
        #expect(kind("x", []) == .fixed)
    }

    /// The header of a large model is 64 KiB of JSON and more.
    @Test func safetensorsIsNotText() {
        let json = Array(("{\"a\": " + String(repeating: "{\"dtype\": \"F32\"},", count: 4000)).utf8)
        #expect(kind("model.bin", littleEndian(UInt64(json.count)) + json) == .fixed)
    }

    @Test func textToleratesFewStrangeBytesAndNoMore() {
        var random = SplitMix64(seed: 32)
        var bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 10_000)
        for index in 0..<1000 { bytes[index * 10] = 0 }
        #expect(kind("x", bytes) == .cdc)
        bytes[1] = 0
        #expect(kind("x", bytes) == .fixed)
        // A multi-byte character cut off at the end of the head.
        #expect(kind("x", Array("plain text, mostly ".utf8) + [0xE6, 0x95]) == .cdc)
        for length in 0..<300 {
            #expect(kind("x-1-of-", random.bytes(length)) != .whole)
        }
    }
}
