import System
import Testing

@Suite("Names as bytes")
struct ByteStringTests {
    @Test("twins in Unicode are two names")
    func twins() {
        let composed: ByteString = "caf\u{e9}"
        let decomposed: ByteString = "cafe\u{301}"
        #expect("\u{e9}" == "e\u{301}")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
    }

    @Test("are ordered by bytes")
    func order() {
        let sorted = [ByteString([0xFF]), "b", "a/", "a", "a-", ""].sorted()
        #expect(sorted == ["", "a", "a-", "a/", "b", ByteString([0xFF])])
    }

    @Test(
        "are joined with one slash",
        arguments: [("a", "b", "a/b"), ("a/", "b", "a/b"), ("/", "b", "/b"), ("", "b", "b")]
            as [(ByteString, ByteString, ByteString)])
    func joining(_ path: ByteString, _ name: ByteString, _ joined: ByteString) {
        #expect(path.appending(name) == joined)
    }

    @Test("are shown so that no two names look the same and no terminal obeys them")
    func description() {
        #expect("\(ByteString("caf\u{e9} 1"))" == "caf\u{e9} 1")
        #expect("\(ByteString([0x61, 0x0A, 0x1B, 0x5C, 0x7F, 0xC3]))" == "a\\x0a\\x1b\\x5c\\x7f\\xc3")
    }

    @Test("end in one NUL for C")
    func cString() {
        let length = ByteString("name").withCString { unsafe ($0[3], $0[4]) }
        #expect(length == (CChar(UInt8(ascii: "e")), 0))
    }
}
