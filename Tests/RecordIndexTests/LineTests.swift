import KamlTestSupport
import Testing

@testable import RecordIndex

@Suite struct LineTests {
    @Test(
        "a line is a record without its end",
        arguments: [
            ("", []), ("\n", [""]), ("a", ["a"]), ("a\n", ["a"]), ("a\r\n", ["a"]), ("a\nb", ["a", "b"]),
            ("a\r\nb\nc\r\n", ["a", "b", "c"]),
            ("\r\n\r\n", ["", ""]), ("a\n\nb\n", ["a", "", "b"]), ("a\rb\n", ["a\rb"]), ("a\r\r\n", ["a\r"]),
            ("a\r", ["a\r"]),
            ("{\"x\": \"ü\"}\n[1]\n", ["{\"x\": \"ü\"}", "[1]"]),
        ] as [(String, [String])])
    func lines(_ text: String, _ expected: [String]) throws {
        let bytes = Array(text.utf8)
        for seed in 0..<8 as Range<UInt64> {
            var parser = LineParser()
            // A byte at a time, or all at once.
            for piece in seed == 0 ? [bytes[...]] : bytes.indices.map({ bytes[$0...$0] }) {
                try piece.withUnsafeBytes { bytes in
                    Result { () throws(RecordIndexError) in try parser.take(bytes) }
                }.get()
            }
            let index = try open(parser.finish(nil), .jsonl, size: UInt64(bytes.count))
            let found = try (0..<index.records).map { record in
                let place = try #require(index.place(record))
                return String(
                    decoding: bytes[Int(place.offset)..<Int(place.offset + place.length)], as: UTF8.self)
            }
            #expect(found == expected)
            #expect(index.bytes == UInt64(expected.reduce(0) { $0 + $1.utf8.count }))
        }
    }
}
