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
}
