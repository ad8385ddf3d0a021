import Chunking
import CKamlFeed
import Glibc
import KamlTestSupport
import Testing

@testable import RecordIndex

@Suite struct TFRecordTests {
    private let records = randomRecords(200, longest: 3_000, seed: 1) + [[], [], Array("x".utf8)]

    @Test("records are found whatever pieces the file comes in", arguments: 0..<20 as Range<UInt64>)
    func places(seed: UInt64) throws {
        let bytes = records.flatMap(frame)
        let index = try parse(TFRecordParser(size: UInt64(bytes.count)), bytes, .tfrecord, pieces: seed)
        #expect(index.records == UInt64(records.count))
        #expect(index.bytes == UInt64(records.reduce(0) { $0 + $1.count }))
        for (number, record) in records.enumerated() {
            let place = try #require(index.place(UInt64(number)))
            #expect(Array(bytes[Int(place.offset)..<Int(place.offset + place.length)]) == record)
        }
        #expect(index.place(UInt64(records.count)) == nil)
    }

    @Test("an empty file has no records")
    func empty() throws {
        let index = try parse(TFRecordParser(size: 0), [], .tfrecord)
        #expect(index.records == 0 && index.place(0) == nil)
    }

    @Test("a flipped bit anywhere is found, and told with record and offset")
    func flipped() throws {
        let few = [Array("first".utf8), Array("second record".utf8), Array("3rd".utf8)]
        let bytes = few.flatMap(frame)
        let begins = [0, 21, 50]
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            let record = begins.lastIndex { $0 <= index } ?? 0
            let error = #expect(throws: RecordIndexError.self) {
                try parse(TFRecordParser(size: UInt64(bytes.count)), damaged, .tfrecord)
            }
            #expect(
                error?.code == .damaged && error?.record == UInt64(record)
                    && error?.offset == UInt64(begins[record]))
        }
    }

    @Test("a file that was cut off anywhere but between records is damaged")
    func cutOff() throws {
        let few = [Array("first".utf8), Array("second record".utf8)]
        let bytes = few.flatMap(frame)
        for count in 1..<bytes.count where count != 21 {
            for size in [nil, UInt64(count)] {
                let error = #expect(throws: RecordIndexError.self) {
                    try parse(TFRecordParser(size: size), Array(bytes[..<count]), .tfrecord)
                }
                #expect(error?.code == .damaged && error?.record == (count < 21 ? 0 : 1))
            }
        }
    }

    @Test("records of 3 GiB, and a file of more than 4", .enabled(if: getenv("KAML_STRESS") != nil))
    func large() throws {
        let piece = [UInt8](repeating: 0, count: 1 << 20)
        let sizes: [UInt64] = [3 << 30, 2 << 30, 1 << 20]
        var parser = TFRecordParser(size: nil)
        func take(_ bytes: some Collection<UInt8>) throws {
            try Array(bytes).withUnsafeBytes { bytes in
                Result { () throws(RecordIndexError) in try parser.take(bytes) }
            }.get()
        }
        for size in sizes {
            let header = withUnsafeBytes(of: size.littleEndian) { Array($0) }
            let sum = CRC32C.masked(CRC32C.checksum(ofWord: size))
            try take(header + withUnsafeBytes(of: sum.littleEndian) { Array($0) })
            var crc: UInt32 = 0
            for _ in 0..<size >> 20 {
                crc = piece.withUnsafeBytes { kaml_crc32c(crc, $0.baseAddress, $0.count) }
                try take(piece)
            }
            try take(withUnsafeBytes(of: CRC32C.masked(crc).littleEndian) { Array($0) })
        }
        let index = try open(parser.finish(nil), .tfrecord, size: sizes.reduce(0) { $0 + $1 + 16 })
        #expect((0..<3).map { index.place($0)?.length } == sizes)
        #expect(index.place(2)?.offset == 5 << 30 + 44)
    }

    @Test("both ways to a checksum agree with the published one (RFC 3720, B.4)")
    func checksums() {
        let words: [([UInt8], UInt32)] = [
            ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
            ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
            (Array(0..<32), 0x46DD_794E), (Array("123456789".utf8), 0xE306_9283),
        ]
        for (bytes, sum) in words {
            #expect(bytes.withUnsafeBytes { kaml_crc32c(0, $0.baseAddress, $0.count) } == sum)
            #expect(bytes.withUnsafeBytes { kaml_crc32c_portable(0, $0.baseAddress, $0.count) } == sum)
        }
        var random = SplitMix64(seed: 6)
        for count in 0..<200 {
            let bytes = random.bytes(count)
            let cut = count / 3
            bytes.withUnsafeBytes { bytes in
                let base = bytes.baseAddress
                let whole = kaml_crc32c(0, base, count)
                #expect(whole == kaml_crc32c_portable(0, base, count))
                guard let base else { return }
                #expect(whole == kaml_crc32c(kaml_crc32c(0, base, cut), base + cut, count - cut))
            }
        }
    }
}
