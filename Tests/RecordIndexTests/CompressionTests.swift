import KamlTestSupport
import System
import Testing

@testable import RecordIndex

@Suite struct CompressionTests {
    /// About 13 MB, so that there are restart points.
    private static let records = randomRecords(180, longest: 150_000, seed: 2)

    @Test("records of compressed files are read from the middle", arguments: [true, false])
    func randomAccess(gzip: Bool) throws {
        let fixture = try DatasetFixture()
        try fixture.write("a.tfrecord", deflate(Self.records.flatMap(frame), gzip: gzip))
        let snapshot = try fixture.commit()
        let index = try fixture.index(snapshot)
        #expect(index.file(0).codec == (gzip ? .gzip : .zlib))
        #expect(index.file(0).decodedSize == UInt64(Self.records.reduce(0) { $0 + $1.count + 16 }))
        var reader = try DecodedReader(index, file: 0, fixture.bytes(of: snapshot))
        let first = reader.block(at: 0)
        #expect(
            first.lowerBound == 0 && first.upperBound >= RestartPoint.distance
                && first.upperBound < 2 * RestartPoint.distance)
        var random = SplitMix64(seed: 4)
        for _ in 0..<60 {
            let number = Int(random.next() % UInt64(Self.records.count))
            let place = try #require(index.place(UInt64(number)))
            var value = [UInt8](repeating: 0, count: Int(place.length))
            try value.withUnsafeMutableBytes { try reader.read(at: place.offset, into: $0) }
            #expect(value == Self.records[number])
        }
    }

    @Test("gzip files of several members are one")
    func members() throws {
        let fixture = try DatasetFixture()
        let (one, other) = (Self.records[..<70], Self.records[70...])
        try fixture.write(
            "a.jsonl.gz",
            deflate(Array("a\nb\n".utf8), gzip: true) + deflate(Array("c\n".utf8), gzip: true, level: 0))
        let lines = try fixture.commit()
        #expect(try fixture.values(fixture.index(lines), lines) == ["a", "b", "c"].map { Array($0.utf8) })
        try fixture.write(
            "b/a.tfrecord.gz",
            deflate(one.flatMap(frame), gzip: true) + deflate(other.flatMap(frame), gzip: true))
        let snapshot = try fixture.commit()
        let index = try fixture.index(snapshot, RecordSelection(paths: ["b"]))
        #expect(index.records == UInt64(Self.records.count))
        // Sequential, over the seam, and back over it.
        var reader = try DecodedReader(index, file: 0, fixture.bytes(of: snapshot))
        for number in Array(65..<80) + [179, 69, 70, 0] {
            let place = try #require(index.place(UInt64(number)))
            var value = [UInt8](repeating: 0, count: Int(place.length))
            try value.withUnsafeMutableBytes { try reader.read(at: place.offset, into: $0) }
            #expect(value == Self.records[number])
        }
    }

    @Test("a compressed file that was cut off, changed or added to is damaged", arguments: [true, false])
    func damage(gzip: Bool) throws {
        let bytes = deflate(randomRecords(20, longest: 500, seed: 3).flatMap(frame), gzip: gzip)
        func index(_ bytes: [UInt8]) throws -> RecordIndex {
            let fixture = try DatasetFixture()
            try fixture.write("dir/a.tfrecord", bytes)
            return try fixture.index(fixture.commit())
        }
        #expect(try index(bytes).records == 20)
        var changed = bytes
        changed[bytes.count / 2] ^= 4
        for damaged in [
            Array(bytes.dropLast()), Array(bytes[..<(bytes.count / 2)]), changed, bytes + [1, 2, 3],
        ] {
            let error = #expect(throws: RecordIndexError.self) { try index(damaged) }
            #expect(error?.code == .damaged && error?.path == "dir/a.tfrecord")
        }
    }
}
