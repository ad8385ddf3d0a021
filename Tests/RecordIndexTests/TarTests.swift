import KamlTestSupport
import Testing

@testable import RecordIndex

@Suite struct TarTests {
    private func samples(_ bytes: [UInt8], pieces seed: UInt64 = 3) throws -> [[String: [UInt8]]] {
        let index = try parse(TarParser(size: UInt64(bytes.count)), bytes, .tar, pieces: seed)
        return try (0..<index.records).map { record in
            var sample: [String: [UInt8]] = [:]
            sample["__key__"] = index.withKey(record) { Array($0) }
            for (number, column) in index.columns.enumerated() where column.source == .file {
                let place = try #require(index.place(record, column: number))
                if place.length > 0 {
                    sample[column.name] = Array(bytes[Int(place.offset)..<Int(place.offset + place.length)])
                }
            }
            return sample
        }
    }

    @Test(
        "neighbours with one stem are a record, a column for each extension",
        arguments: 0..<10 as Range<UInt64>)
    func grouping(seed: UInt64) throws {
        let image = [UInt8](repeating: 7, count: 1500)
        let bytes =
            member("train/", [], type: "5") + member("train/0001.jpg", image) + member("train/0001.CLS", [1])
            + member("train/0002.jpg", [2, 2]) + member("__meta__", [9]) + member("other/0002.seg.png", [3])
            + endOfTar
        #expect(
            try samples(bytes, pieces: seed) == [
                ["__key__": Array("train/0001".utf8), "jpg": image, "cls": [1]],
                ["__key__": Array("train/0002".utf8), "jpg": [2, 2]],
                ["__key__": Array("other/0002".utf8), "seg.png": [3]],
            ])
    }

    @Test("long names: ustar's prefix, pax and GNU")
    func names() throws {
        let long = String(repeating: "d/", count: 120)
        let bytes =
            member("a.x", [1], prefix: "deep/er")
            + member("pax", pax("mtime", "1.5") + pax("path", long + "b.x"), type: "x")
            + member("ignored.y", [2]) + member("././@LongLink", Array((long + "c.x\0").utf8), type: "L")
            + member("d.y", [3])
            + member("global", pax("comment", "z"), type: "g") + member("e.x", [4]) + endOfTar
        #expect(
            try samples(bytes).map { String(decoding: $0["__key__"] ?? [], as: UTF8.self) } == [
                "deep/er/a", long + "b", long + "c", "e",
            ])
    }

    @Test("a member's size in pax counts, and so does one in base 256")
    func sizes() throws {
        var large = member("a.x", [5, 6, 7])
        large.replaceSubrange(124..<136, with: [0x80] + [UInt8](repeating: 0, count: 10) + [3])
        large.replaceSubrange(148..<156, with: Array("        ".utf8))
        let sum = large[..<512].reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        large.replaceSubrange(
            148..<155, with: Array((String(repeating: "0", count: 6 - digits.count) + digits + "\0").utf8))
        var other = member("b.x", [])
        other += [8, 9] + [UInt8](repeating: 0, count: 510)
        let bytes = large + member("pax", pax("size", "2"), type: "x") + other + endOfTar
        #expect(try samples(bytes).map { $0["x"] } == [[5, 6, 7], [8, 9]])
    }

    @Test(
        "an archive without members has no records, and neither has an empty file", arguments: [[], endOfTar])
    func empty(bytes: [UInt8]) throws { #expect(try samples(bytes).isEmpty) }

    @Test("what is no sample is told, not left out")
    func refusals() throws {
        let first = member("a.x", [1])
        func code(_ bytes: [UInt8]) -> (RecordIndexError.Code?, UInt64?) {
            let error = #expect(throws: RecordIndexError.self) { try samples(bytes) }
            return (error?.code, error?.record)
        }
        #expect(code(first + member("README", [1]) + endOfTar) == (.unsupported, 1))
        #expect(code(first + member("a.X", [1]) + endOfTar) == (.damaged, 1))
        #expect(code(first + member("b.x", [1], type: "S") + endOfTar) == (.unsupported, 1))
        #expect(code(first + endOfTar + first + endOfTar) == (.unsupported, 1))
        #expect(
            code(first + member("p", pax("GNU.sparse.major", "1"), type: "x") + first + endOfTar) == (
                .unsupported, 1
            ))
        #expect(
            code(first + member("p", Array("9 path=\n".utf8), type: "x") + first + endOfTar) == (.damaged, 1))
        #expect(code(Array("plain text".utf8) + [UInt8](repeating: 32, count: 600)) == (.damaged, 0))
    }

    @Test("an archive that was cut off is damaged wherever it was")
    func cutOff() throws {
        let bytes = member("a.x", [UInt8](repeating: 1, count: 600)) + member("b.x", [2]) + endOfTar
        for count in stride(from: 1, to: bytes.count - 1024, by: 37) {
            #expect(throws: RecordIndexError.self) { try samples(Array(bytes[..<count])) }
        }
    }

    @Test("members of many gigabytes are gone over unseen, and found")
    func large() throws {
        let sizes: [UInt64] = [5 << 30, 3, 9 << 30]
        var parser = TarParser(size: nil)
        var offset: UInt64 = 0
        func take(_ bytes: [UInt8]) throws {
            try bytes.withUnsafeBytes { bytes in
                Result { () throws(RecordIndexError) in try parser.take(bytes) }
            }.get()
            offset += UInt64(bytes.count)
        }
        var places: [RecordPlace] = []
        for (number, size) in sizes.enumerated() {
            try take(member("p", pax("size", "\(size)"), type: "x") + member("\(number).bin", []))
            places.append(RecordPlace(file: 0, offset: offset, length: size))
            let padded = (size + 511) & ~511
            #expect(parser.idle == padded)
            parser.skip(padded)
            offset += padded
        }
        try take(endOfTar)
        let index = try open(parser.finish(nil), .tar, size: offset)
        #expect((0..<3).map { index.place($0, column: 1) } == places)
    }
}
