import DatasetStore
import KamlCommand
import System
import Testing

@Suite struct InputTests {
    @Test(arguments: [
        ("d", "d@main", ""), ("a/b@v1", "a/b@v1", ""), ("d:x/y", "d@main", "x/y"),
        ("d@main~3:a:b", "d@main~3", "a:b"),
        ("d:", "d@main", ""), ("d:a\\x5cb", "d@main", "a\\b"), ("d:a\\b", "d@main", "a\\b"),
        ("d:\\xzz", "d@main", "\\xzz"),
    ])
    func aReferenceWithAPath(_ argument: String, _ reference: String, _ path: String) throws {
        let parsed = try ReferencePath(ByteString(argument))
        #expect("\(parsed.reference)" == reference)
        #expect(parsed.path == ByteString(path))
    }

    @Test func aPathIsBytes() throws {
        let raw = try ReferencePath(ByteString(Array("d:a".utf8) + [0xFF]))
        #expect(raw.path.bytes == [0x61, 0xFF])
        #expect(try ReferencePath("d:a\\xff") == raw)
        // What is printed can be typed.
        #expect(try ReferencePath(ByteString("d:\(raw.path)")) == raw)
    }

    @Test(arguments: ["", "@x", "d@", "a b", "d@main~x", "-d"]) func whatNamesNothing(_ argument: String) {
        #expect(throws: SnapshotReferenceError.self) { try ReferencePath(ByteString(argument)) }
    }

    @Test func theCachesPlace() throws {
        func place(_ option: String?, root: Bool, _ environment: [String: String]) throws -> ByteString {
            try CachePlace.directory(option, isRoot: root) { environment[$0] }
        }
        #expect(try place("/x", root: true, ["KAML_CACHE_DIR": "/y"]) == "/x")
        #expect(try place(nil, root: true, ["KAML_CACHE_DIR": "/y"]) == "/y")
        #expect(try place(nil, root: true, ["HOME": "/root"]) == "/var/cache/kaml")
        #expect(try place(nil, root: false, ["XDG_CACHE_HOME": "/c", "HOME": "/h"]) == "/c/kaml")
        #expect(try place(nil, root: false, ["HOME": "/h"]) == "/h/.cache/kaml")
        #expect(throws: Failure.self) { try place(nil, root: false, [:]) }
    }

    @Test(arguments: [
        ReadinessMessage.ready("mounted"), .ready(""), .failed(status: 3, text: "error: no\nhint: look\n"),
    ])
    func aMountsProcessSaysHowItWent(_ message: ReadinessMessage) {
        #expect(ReadinessMessage(message.bytes) == message)
    }

    @Test(arguments: ["", "ready", "failed\n", "failed x\n", "ready 1\n", "\n"]) func whatIsNoMessage(
        _ text: String
    ) {
        #expect(ReadinessMessage(Array(text.utf8)) == nil)
    }
}
