import ObjectStore
import Testing

@Suite("Object keys")
struct ObjectKeyTests {
    @Test(
        "accept what is the same name on S3 and on every file system",
        arguments: [
            "store.json", "log/00000000000000000001", "packs/3f/3f90", "a/b-c/d_e.f", "0", "a.", "a..b",
        ])
    func valid(text: String) { #expect(ObjectKey(text)?.text == text) }

    @Test(
        "refuse what could climb, hide, differ in case or be empty",
        arguments: [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", ".tmp", "a/.tmp/b", "A", "é", "a b",
            "a\0b", "a+b",
            "a\\b", "%2e%2e",
        ])
    func invalid(text: String) { #expect(ObjectKey(text) == nil) }

    @Test("have at most 512 bytes")
    func length() {
        #expect(ObjectKey(String(repeating: "a", count: 512)) != nil)
        #expect(ObjectKey(String(repeating: "a", count: 513)) == nil)
    }

    @Test("sort as bytes")
    func order() {
        let sorted = ["a", "a-b", "a.b", "a/b", "a0", "aa", "b"].compactMap { ObjectKey($0) }
        #expect(sorted.shuffled().sorted() == sorted)
    }
}
