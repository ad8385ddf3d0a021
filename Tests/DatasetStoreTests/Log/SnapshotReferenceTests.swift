import Chunking
import DatasetStore
import Testing

@Suite("References to snapshots")
struct SnapshotReferenceTests {
    @Test(
        "parse",
        arguments: [
            ("imagenet", "imagenet@main"), ("imagenet@main", "imagenet@main"),
            ("vision/imagenet@v2", "vision/imagenet@v2"),
            ("a@main~3", "a@main~3"), ("a@main~0", "a@main"), ("a@0123abcdef", "a@0123abcdef"),
            ("A.b_c-d@x/y", "A.b_c-d@x/y"),
        ])
    func valid(text: String, printed: String) throws {
        #expect(try SnapshotReference(text).description == printed)
    }

    @Test(
        "are refused when malformed, with the reason",
        arguments: [
            "", "@main", "a@", "a@@b", "a b", ".a", "-a", "a/", "/a", "a//b", "a/.b", "a/../b", "é", "a@-x",
            "a@.x", "a@x~", "a@x~-1",
            "a@x~y", "a@x~1~2", "a@~1", "a~1", "a@x~99999999999999999999999", "a\0",
            String(repeating: "a", count: 201),
        ])
    func invalid(text: String) {
        #expect(throws: SnapshotReferenceError.self) { try SnapshotReference(text) }
    }

    /// imagenet: main at 3 (1, 2, 3), dev at 4 after 1, v1 = 2; snapshots abcd01…, abcd02….
    private func history() throws -> LogState {
        var state = LogState()
        state.add(state.nextCommit(try id("abcdef01")))
        state.add(state.nextCommit(try id("abcdef02")))
        state.add(state.nextCommit(try id("99aabb")))
        state.add(.branch(BranchChange(dataset: dataset(), name: ref("dev"), target: 1)))
        state.add(state.nextCommit(try id("abcdef02"), on: ref("dev")))
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 2)))
        #expect(state.voidRecords.isEmpty)
        return state
    }

    private func id(_ digits: String) throws -> ContentHash {
        try #require(ContentHash(hex: digits + String(repeating: "0", count: 64 - digits.count)))
    }

    @Test(
        "find branches, tags, ancestors and id prefixes",
        arguments: [
            ("imagenet", 3, "main"), ("imagenet@main~1", 2, nil), ("imagenet@main~2", 1, nil),
            ("imagenet@v1", 2, "v1"),
            ("imagenet@v1~1", 1, nil), ("imagenet@dev", 5, "dev"), ("imagenet@dev~1", 1, nil),
            ("imagenet@99aabb", 3, nil),
            ("imagenet@99AABB00", 3, nil), ("imagenet@abcdef01", 1, nil), ("imagenet@abcdef02", 5, nil),
        ] as [(String, UInt64, String?)])
    func resolve(text: String, sequence: UInt64, name: String?) throws {
        let state = try history()
        let found = try SnapshotReference(text).resolve(in: state)
        #expect(found.sequence == sequence)
        #expect(found.snapshot == state.commits[sequence]?.commit.snapshot)
        #expect(found.refName == name.flatMap { RefName($0) })
    }

    @Test("list the candidates of an ambiguous prefix")
    func ambiguous() throws {
        let reference = try SnapshotReference("imagenet@abcdef")
        let error = try #require(throws: SnapshotReferenceError.self) { try reference.resolve(in: history()) }
        #expect(error == .ambiguous(reference, candidates: [try id("abcdef01").hex, try id("abcdef02").hex]))
        #expect(error.description.contains("give more digits"))
    }

    @Test(
        "name what was probably meant",
        arguments: [
            ("imagent", "did you mean imagenet?"), ("Imagenet", "did you mean imagenet?"),
            ("cifar", "`kaml list`"),
            ("imagenet@v2", "did you mean v1?"), ("imagenet@mian", "did you mean main?"),
            ("imagenet@release", "`kaml log imagenet`"),
            ("imagenet@99aab", "`kaml log imagenet`"),
            ("imagenet@main~3", "there are 2 commits before imagenet@main"),
            ("imagenet@v1~2", "there is 1 commit before imagenet@v1"),
        ])
    func closeNames(text: String, hint: String) throws {
        let reference = try SnapshotReference(text)
        let error = try #require(throws: SnapshotReferenceError.self) { try reference.resolve(in: history()) }
        #expect(error.description.contains(hint), "\(error)")
    }
}
