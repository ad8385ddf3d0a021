import System
import Testing

/// `kaml index`, and indexes in the store.
@Suite struct CommandIndexTests {
    private func workplace() throws -> Workplace {
        let place = try Workplace()
        try place.succeed("store", "init")
        for (path, text) in [
            ("src/a/1.jsonl", "{}\n{}\n"), ("src/b/2.jsonl", "[1]"), ("src/README", "-"),
        ] {
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            try HostFileSystem().makeDirectories(place.path(folder))
            try place.write(path, text)
        }
        return place
    }

    @Test func anIndexTellsWhatAFeedWouldGiveOut() throws {
        let place = try workplace()
        try place.succeed("commit", "data", "src")
        let lines = try place.json("index", "data")
        #expect(
            lines["format"]?.string == "jsonl" && lines["files"]?.number == 2 && lines["records"]?.number == 3
        )
        #expect(
            lines["bytes"]?.number == 7
                && lines["columns"]?.list.compactMap { $0["name"]?.string } == ["record"])
        let files = try place.json("index", "data", "--format", "files")
        #expect(files["records"]?.number == 3 && files["labels"]?.list == [.string("a"), .string("b")])
        #expect(try place.json("index", "data", "--path", "b")["records"]?.number == 1)
        #expect(try place.succeed("index", "data").text.contains("records"))
    }

    @Test func whatCannotBeFedIsToldWithItsFile() throws {
        let place = try workplace()
        try place.succeed("commit", "data", "src")
        let damaged = try place.json("index", "data", "--path", "a", "--format", "tfrecord")["error"]
        #expect(damaged?["code"]?.string == "damaged" && damaged?["path"]?.string == "a/1.jsonl")
        #expect(try place.run("index", "data", "--path", "nowhere").status == 3)
        #expect(try place.run("index", "data", "--format", "fixed").status == 2)
        #expect(try place.run("index", "data", "--format", "parquet").status == 2)
    }

    @Test func anIndexInTheStoreIsUsed() throws {
        let place = try workplace()
        try place.succeed("commit", "data", "src", "--index")
        let name = try #require(try HostFileSystem().list(place.store.appending("indexes")).first).name
        #expect(name.description.contains("-jsonl-"))
        #expect(try place.json("index", "data")["records"]?.number == 3)
        #expect(try place.json("index", "data", "--publish")["published"]?.string == "indexes/\(name)")
        try place.succeed("check")
        // The commit stands where no index can be made.
        try place.write("src/bad.tfrecord", String(repeating: "x", count: 1000))
        let result = try place.run("commit", "data", "src", "--index")
        #expect(result.status == 0 && result.errors.contains("bad.tfrecord"))
    }
}
