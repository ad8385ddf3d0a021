import DatasetStore
import KamlTestSupport
import System
import Testing

@Suite struct LargeFileCommitTests {
    /// A TFRecord file of records with random bytes; lengths and checksums as the format wants them.
    private func records(_ count: Int, _ random: inout SplitMix64) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<count {
            let payload = random.bytes(30_000 + Int(random.next() % 40_000))
            let length = UInt64(payload.count)
            let header = withUnsafeBytes(of: length.littleEndian) { Array($0) }
            bytes += header
            bytes += withUnsafeBytes(of: maskedCRC(header).littleEndian) { Array($0) }
            bytes += payload
            bytes += withUnsafeBytes(of: maskedCRC(payload).littleEndian) { Array($0) }
        }
        return bytes
    }

    private func maskedCRC(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
        }
        crc = ~crc
        return ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
    }

    private func check(_ source: SourceFixture, _ result: CommitResult) throws {
        let read = try items(of: source.snapshot(result), in: source.store)
        #expect(differences(try items(of: source.root), read) == [])
    }

    @Test(arguments: ["fixed.bin", "cdc.tar", "record.tfrecord"] as [ByteString])
    func editedAppendedTruncated(_ name: ByteString) throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 31)
        let bytes = name == "record.tfrecord" ? records(100, &random) : random.bytes(6_000_000)
        try source.write(name, bytes)
        let first = try source.commit()
        try check(source, first)

        try source.patch(name, at: 3_000_000, random.bytes(1_000))
        let edited = try source.commit()
        try check(source, edited)
        #expect(edited.newBytes <= 2 << 20)

        try source.patch(name, at: UInt64(bytes.count), random.bytes(300_000))
        let appended = try source.commit()
        try check(source, appended)
        #expect(appended.newBytes <= 2_500_000)

        try source.truncate(name, 2_500_000)
        let truncated = try source.commit()
        try check(source, truncated)
        #expect(truncated.newBytes <= 1 << 20)

        try source.write(name, bytes)
        let restored = try source.commit()
        try check(source, restored)
        // The parent is the truncated file; the rest is found in no pack that it names.
        #expect(restored.bytes == first.bytes)

        let again = try source.commit { $0.usesStatCache = false }
        #expect(again.nothingChanged)
        #expect(again.packBytes == 0)
    }

    @Test func insertedBytesShiftNothingElse() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 32)
        let bytes = random.bytes(12_000_000)
        try source.write("data.tar", bytes)
        try source.commit()
        try source.write(
            "data.tar", Array(bytes[..<2_000_000]) + [1, 2, 3, 4, 5] + Array(bytes[2_000_000...]))
        let second = try source.commit()
        try check(source, second)
        #expect(second.newBytes < 3 << 20)
    }

    @Test func aFileThatGrowsAndShrinksAcrossTheLimit() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 33)
        let bytes = random.text(3_000_000)
        for size in [500_000, 1 << 20, (1 << 20) + 1, 3_000_000, 1 << 20, 100, 0, 2_000_000] {
            try source.write("file.txt", Array(bytes[..<size]))
            let result = try source.commit()
            try check(source, result)
        }
    }

    @Test func aShortRunInAForeignPackIsStoredAgain() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 34)
        let shared = random.bytes(3_000_000)
        try source.write("first.tar", shared)
        try source.commit()
        // Pieces of 300 kB between strangers: a run of one chunk each at most.
        var mixed: [UInt8] = []
        for piece in 0..<6 {
            mixed += random.bytes(700_000)
            mixed += shared[(piece * 400_000)..<(piece * 400_000 + 500_000)]
        }
        try source.write("second.tar", mixed)
        let result = try source.commit()
        try check(source, result)
        let entry = try find("second.tar", in: source.snapshot(result))
        guard case .extents(_, let extents) = entry.contents else {
            Issue.record("not a large file")
            return
        }
        #expect(extents.count == 1)
        // And a whole copy costs nothing.
        try source.write("third.tar", shared)
        let copy = try source.commit()
        #expect(copy.packBytes == 0)
        try check(source, copy)
    }
}
