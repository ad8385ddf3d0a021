import Glibc
import KamlTestSupport
import System
import Testing

/// `kaml import` of a directory tree, as a person uses it.
@Suite struct CommandImportTests {
    @Test("a tree is imported without copying it, reads as itself, and again only what changed")
    func importOfATree() throws {
        let place = try Workplace()
        try place.makeTree()
        try place.succeed("store", "init")
        let first = try place.json("import", "data", "src", "-m", "as it is", "--tag", "v1")
        #expect(first["changed"]?.bool == true && first["copied"]?.bool == false)
        #expect(first["tag"]?.string == "v1" && first["skippedObjects"]?.number == 0)
        let bytes = first["bytes"]?.number ?? 0
        // Nothing of twenty megabytes was stored but names.
        #expect(bytes > 20_971_520 && first["storedBytes"]?.number ?? .infinity < 100_000)
        let same = try place.json("import", "data", "src")
        #expect(same["changed"]?.bool == false && same["snapshot"] == first["snapshot"])
        #expect(same["newObjects"]?.number == 0 && same["storedBytes"]?.number == 0)
        try place.succeed("export", "data@v1", "out")
        #expect(try place.read(place.path("out/changed.txt")) == place.read(place.path("src/changed.txt")))
        try place.write("src/changed.txt", "now otherwise")
        let gone = try place.run("cat", "data@v1:changed.txt")
        #expect(gone.status == 1)
        #expect(gone.errors.contains("changed.txt") && gone.errors.contains("kaml import"))
        let second = try place.json("import", "data", "src")
        #expect(second["newObjects"]?.number == 1 && second["changed"]?.bool == true)
        #expect(try place.succeed("cat", "data:changed.txt").text == "now otherwise")
        let check = try place.run("check", "--read-data", "-o", "json")
        #expect(check.status == 5 && check.text.contains("\"changed\""))
        let stats = try place.json("stats")
        #expect(stats["referencedBytes"]?.number ?? 0 >= bytes && stats["uniqueBytes"]?.number == 0)
    }

    @Test("a copy needs the tree no more")
    func copy() throws {
        let place = try Workplace()
        try place.makeTree()
        try place.succeed("store", "init")
        let result = try place.json("import", "data", "src", "--copy")
        #expect(result["copied"]?.bool == true && result["storedBytes"]?.number ?? 0 > 100_000)
        let text = try place.read(place.path("src/changed.txt"))
        TemporaryDirectory.remove(place.path("src"))
        #expect(try place.succeed("cat", "data:changed.txt").output == text)
        try place.succeed("check", "--read-data")
    }

    @Test("what cannot be imported is an error of usage, with what to do")
    func usage() throws {
        let place = try Workplace()
        try place.makeTree()
        try place.succeed("store", "init")
        for words in [
            ["import", "data", "src", "--file-mode", "999"], ["import", "data", "src", "--threads", "2"],
            ["import", "data", ".", "-o", "json"], ["import", "../data", "src"],
            ["import", "data", "s3://key:secret@bucket/x"],
        ] {
            let ended = try place.run(words.map { ByteString($0) })
            #expect(ended.status == 2, "\(words)")
            #expect(!ended.errors.contains("secret"))
        }
        #expect(try place.run("import", "data", "nowhere").status != 0)
    }
}
