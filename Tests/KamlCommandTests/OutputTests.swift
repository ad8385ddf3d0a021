import KamlCommand
import System
import Testing

@Suite struct OutputTests {
    private let value: OutputValue = [
        "zulu": 1, "alpha": ["x", true, .null, .number(1.5), .number(.infinity)], "empty": [], "none": [:],
        "deep": ["list": [["a": 1, "b": [2]], ["c": "yes"]]], "big": .unsigned(.max),
    ]

    @Test func jsonIsSortedAndExact() {
        let expected = """
            {
              "alpha": [
                "x",
                true,
                null,
                1.5,
                null
              ],
              "big": 18446744073709551615,
              "deep": {
                "list": [
                  {
                    "a": 1,
                    "b": [
                      2
                    ]
                  },
                  {
                    "c": "yes"
                  }
                ]
              },
              "empty": [],
              "none": {},
              "zulu": 1
            }

            """
        #expect(JSONText.encode(value) == expected)
    }

    @Test func yamlIsTheSameTree() {
        let expected = """
            alpha:
              - x
              - true
              - null
              - 1.5
              - null
            big: 18446744073709551615
            deep:
              list:
                - a: 1
                  b:
                    - 2
                - c: "yes"
            empty: []
            none: {}
            zulu: 1

            """
        #expect(YAMLText.encode(value) == expected)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a/b.c@d-e", "a/b.c@d-e"), ("true", "\"true\""), ("No", "\"No\""),
        ("12", "\"12\""),
        ("", "\"\""), ("a: b", "\"a: b\""), ("- x", "\"- x\""), ("x\ny", "\"x\\ny\""), ("é", "\"é\""),
        ("~", "\"~\""),
    ])
    func yamlQuotesWhatAReaderCouldMistake(_ text: String, _ expected: String) {
        #expect(YAMLText.encode(["k": .string(text)]) == "k: \(expected)\n")
    }

    @Test func jsonEscapesControlCharacters() {
        #expect(
            JSONText.encode(.string("a\"\\\u{1}\u{1B}\n\u{9F}")) == "\"a\\\"\\\\\\u0001\\u001b\\n\\u009f\"\n")
    }

    @Test func bytesThatAreNoTextComeWholeInHexadecimal() {
        var object = OutputObject()
        object.set("path", ByteString([0x61, 0xFF, 0x62]))
        object.set("name", "caf\u{E9}")
        #expect(object.value == ["path": "a\\xffb", "pathBytes": "61ff62", "name": "caf\u{E9}"])
    }

    @Test func twinsInUnicodeStayApart() {
        var composed = OutputObject()
        composed.set("path", ByteString(Array("caf\u{E9}".utf8)))
        var decomposed = OutputObject()
        decomposed.set("path", ByteString(Array("cafe\u{301}".utf8)))
        let texts = [composed, decomposed].map { Array(JSONText.encode($0.value).utf8) }
        #expect(texts[0] != texts[1])
    }

    @Test func tableAlignsAndNeverEndsInSpaces() {
        var table = Table([.init("NAME"), .init("SIZE", .right), .init("NOTE")])
        table.add(["a", "1", "x"])
        table.add(["long", "1000", ""])
        #expect(table.render() == "NAME  SIZE  NOTE\na        1  x\nlong  1000\n")
    }

    @Test func aTableCannotMoveTheCursor() {
        var table = Table([.init("MESSAGE")])
        table.add(["red\u{1B}[31m\nnext\u{202E}"])
        #expect(table.render() == "MESSAGE\nred\u{FFFD}[31m next\u{FFFD}\n")
    }

    @Test func widthsCountColumns() {
        #expect(CellText.width("abc") == 3)
        #expect(CellText.width("e\u{301}") == 1)
        #expect(CellText.width("\u{4E2D}\u{6587}") == 4)
        #expect(CellText.truncated("abcdef", to: 4) == "abc\u{2026}")
        #expect(CellText.truncated("abc", to: 3) == "abc")
    }

    @Test func anEmptyTableSaysWhatToDo() {
        #expect(Table([.init("A")], emptyText: "nothing yet").render() == "nothing yet\n")
    }
}

@Suite struct QuantityTests {
    @Test(arguments: [
        (UInt64(0), "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"),
        (64 << 20, "64.0 MiB"), (.max, "16.0 EiB"),
    ])
    func bytes(_ count: UInt64, _ text: String) { #expect(BytesText.of(count) == text) }

    @Test(arguments: [
        (0.25, "0.25 s"), (12.34, "12.3 s"), (59.99, "1m00s"), (125, "2m05s"), (3_840, "1h04m"),
        (284_400, "3d07h"),
    ])
    func durations(_ seconds: Double, _ text: String) { #expect(DurationText.of(seconds) == text) }

    @Test(arguments: [(UInt64(0), "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")])
    func counts(_ count: UInt64, _ text: String) { #expect(CountText.of(count) == text) }

    @Test func oneAndMany() {
        #expect(CountText.of(1, "entry", "entries") == "1 entry")
        #expect(CountText.of(2, "entry", "entries") == "2 entries")
    }

    @Test(arguments: [
        (Int64(0), UInt32(0), "1970-01-01T00:00:00Z"),
        (1_234_567_890, 123_456_789, "2009-02-13T23:31:30.123456789Z"),
        (-1, 0, "1969-12-31T23:59:59Z"), (951_782_400, 0, "2000-02-29T00:00:00Z"),
        (4_102_444_799, 0, "2099-12-31T23:59:59Z"), (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
    ])
    func times(_ seconds: Int64, _ nanoseconds: UInt32, _ text: String) {
        #expect(TimeText.utc(Timestamp(seconds: seconds, nanoseconds: nanoseconds)) == text)
    }

    @Test(arguments: [
        (UInt32(0o100644), "-rw-r--r--"), (0o040755, "drwxr-xr-x"), (0o120777, "lrwxrwxrwx"),
        (0o104755, "-rwsr-xr-x"),
        (0o102644, "-rw-r-Sr--"), (0o041777, "drwxrwxrwt"),
    ])
    func modes(_ mode: UInt32, _ text: String) { #expect(ModeText.of(mode) == text) }
}
