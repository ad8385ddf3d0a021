import Glibc
import System
import Testing

/// The verbs, one after the other, as a person uses them.
@Suite struct CommandRoundTripTests {
    @Test func aCommitTellsWhatItStored() throws {
        let place = try Workplace()
        try place.makeTree()
        try place.succeed("store", "init")
        let first = try place.json("commit", "data", "src", "-m", "first")
        #expect(first["snapshot"]?.string?.count == 64)
        #expect(first["files"]?.number == 10)
        #expect(first["bytes"]?.number ?? 0 > 20_971_520)
        #expect(first["newBytes"]?.number ?? 0 >= 3_145_728)
        #expect(first["storedBytes"]?.number ?? 0 >= 3_145_728)
        #expect(first["seconds"]?.number ?? -1 >= 0)
        let again = try place.json("commit", "data", "src")
        #expect(again["snapshot"] == first["snapshot"])
        #expect(again["changed"]?.bool == false)
        #expect(again["storedBytes"]?.number == 0)
    }

    @Test func theLogIsNewestFirst() throws {
        let place = try Workplace(committed: true)
        let commits = try place.json("log", "data")["commits"]?.list ?? []
        #expect(commits.compactMap { $0["message"]?.string } == ["second", "first"])
        #expect(commits.first?["metadata"]?["ticket"]?.string == "7")
        #expect(commits.first?["parent"] == commits.last?["snapshot"])
        #expect(commits.first?["refs"]?.list == [.string("main")])
        #expect(try place.json("log", "data", "--limit", "1")["commits"]?.list.count == 1)
        let text = try place.succeed("log", "data").text
        #expect(text.contains("second") && text.contains("SNAPSHOT"))
    }

    @Test func aDiffListsPathsAndSizes() throws {
        let place = try Workplace(committed: true)
        let diff = try place.json("diff", "data")
        #expect(diff["added"]?.list.compactMap { $0["path"]?.string } == ["new.txt"])
        #expect(diff["added"]?.list.first?["size"]?.number == 4)
        #expect(diff["removed"]?.list.compactMap { $0["path"]?.string } == ["gone.txt"])
        let modified = try #require(diff["modified"]?.list.first { $0["path"]?.string == "changed.txt" })
        #expect(modified["oldSize"]?.number == 9)
        #expect(modified["size"]?.number == 650)
        #expect(modified["changed"]?.list.contains(.string("content")) == true)
        #expect(diff["modified"]?.list.count == 1)
        let back = try place.json("diff", "data@main", "data@main~1")
        #expect(back["added"]?.list.compactMap { $0["path"]?.string } == ["gone.txt"])
        #expect(try place.json("diff", "data", "data")["summary"]?["modified"]?.number == 0)
    }

    @Test func branchesTagsAndResets() throws {
        let place = try Workplace(committed: true)
        try place.succeed("tag", "data", "v1", "main~1")
        try place.succeed("branch", "data", "side", "v1")
        #expect(try place.json("tag", "data")["tags"]?.list.compactMap { $0["name"]?.string } == ["v1"])
        #expect(
            try place.json("branch", "data")["branches"]?.list.compactMap { $0["name"]?.string } == [
                "main", "side",
            ])
        let reset = try place.json("reset", "data@main", "v1")
        #expect(reset["undo"]?.string?.hasPrefix("kaml reset data@main ") == true)
        #expect(try place.json("log", "data")["commits"]?.list.count == 1)
        let undo = try #require(reset["undo"]?.string).split(separator: " ").map(String.init)
        try place.succeed(undo[1], undo[2], undo[3])
        #expect(try place.json("log", "data")["commits"]?.list.count == 2)
        #expect(try place.run("tag", "data", "v1").status == 4)
        #expect(try place.run("branch", "data", "v1").status == 4)
        #expect(try place.run("reset", "data@v1", "main").status == 2)
        try place.succeed("tag", "data", "v1", "--delete")
        try place.succeed("branch", "data", "side", "--delete")
        #expect(try place.run("log", "data@v1").status == 3)
        let list = try place.json("list")["datasets"]?.list ?? []
        #expect(list.compactMap { $0["name"]?.string } == ["data"])
        #expect(list.first?["snapshots"]?.number == 2)
    }

    @Test func anExportIsTheSourceAgain() throws {
        let place = try Workplace(committed: true)
        try place.succeed("export", "data", "out", "--special-bits")
        #expect(try Tree.of(place.path("out")) == Tree.of(place.path("src")))
        let holes = try HostFileSystem().status(of: place.path("out/holes"))
        #expect(holes.size == 20 << 20 | 3)
        #expect(holes.blocks * 512 < 1 << 20)
    }

    @Test func specialBitsComeOnlyWhenAskedFor() throws {
        let place = try Workplace(committed: true)
        try place.succeed("export", "data", "out")
        #expect(try HostFileSystem().status(of: place.path("out/changed.txt")).mode & 0o7777 == 0o750)
    }

    @Test func anExportOfAPart() throws {
        let place = try Workplace(committed: true)
        try place.succeed("export", "data:sub", "out")
        // The file itself lies outside, so the link becomes a file.
        #expect(try place.read(place.path("out/hardlink")) == place.read(place.path("src/large.bin")))
        #expect(try place.read(place.path("out/deep/file")) == place.read(place.path("src/sub/deep/file")))
        try place.succeed("export", "data:changed.txt", "one")
        #expect(try HostFileSystem().list(place.path("one")).map(\.name) == ["changed.txt"])
    }

    @Test func anExportNeverFollowsASymlink() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("out"))
        try HostFileSystem().makeDirectories(place.path("elsewhere"))
        try place.write("victim", "untouched")
        symlink("\(place.path("elsewhere"))", "\(place.path("out/sub"))")
        symlink("\(place.path("victim"))", "\(place.path("out/new.txt"))")
        try HostFileSystem().link(place.path("victim"), place.path("out/changed.txt"))
        #expect(try place.run("export", "data", "out").status == 4)
        try place.succeed("export", "data", "out", "--force")
        #expect(try HostFileSystem().list(place.path("elsewhere")).isEmpty)
        #expect(try place.read(place.path("victim")) == Array("untouched".utf8))
        #expect(
            try Tree.of(place.path("out"), ignoringSpecialBits: true)
                == Tree.of(place.path("src"), ignoringSpecialBits: true))
    }

    @Test func listingAndReading() throws {
        let place = try Workplace(committed: true)
        let names = try place.json("ls", "data")["entries"]?.list ?? []
        #expect(names.count == 12)
        let odd = try #require(names.first { $0["nameBytes"] != nil })
        #expect(odd["nameBytes"]?.string == "62fffe")
        #expect(odd["name"]?.string == "b\\xff\\xfe")
        #expect(names.contains { $0["name"]?.string == "line\nbreak\\" })
        #expect(
            try place.run([ByteString("cat"), ByteString(Array("data:b".utf8) + [0xFF, 0xFE])]).text
                == "odd name")
        #expect(try place.succeed("cat", "data:b\\xff\\xfe").text == "odd name")
        #expect(
            try place.succeed("cat", "data:sub/hardlink").output == place.read(place.path("src/large.bin")))
        #expect(try place.succeed("cat", "data:holes").output == place.read(place.path("src/holes")))
        #expect(try place.succeed("ls", "data", "-R").text.contains("sub/deep/file\n"))
        let stat = try place.json("stat", "data:large.bin")
        #expect(stat["size"]?.number == Double(3 << 20))
        #expect(stat["packs"]?.list.first?["layout"]?.string == "file")
        #expect(try place.json("stat", "data")["files"]?.number == 10)
    }

    @Test func statisticsCountSharedBytesOnce() throws {
        let place = try Workplace(committed: true)
        let stats = try place.json("stats")
        #expect(stats["snapshots"]?.number == 2)
        #expect(stats["dedupRatio"]?.number ?? 0 > 1.9)
        #expect(stats["storedBytes"]?.number ?? 0 > stats["packBytes"]?.number ?? 0)
        #expect(stats["datasets"]?.list.first?["name"]?.string == "data")
    }

    @Test func everyAnswerHasThreeForms() throws {
        let place = try Workplace(committed: true)
        for command in [
            ["log", "data"], ["list"], ["branch", "data"], ["tag", "data"], ["diff", "data"], ["ls", "data"],
            ["stat", "data"], ["check"], ["stats"], ["version"],
        ] {
            for format in ["table", "json", "yaml"] {
                let result = try place.run((command + ["-o", format]).map { ByteString($0) })
                #expect(result.status == 0, "\(command) \(format): \(result.errors)")
                #expect(result.errors.isEmpty)
            }
        }
    }
}

/// All that a tree is, for comparison.
struct Tree: Equatable {
    struct Entry: Equatable {
        var mode: UInt32
        var links: UInt64
        var modified: Timestamp
        var contents: [UInt8]
    }

    var entries: [ByteString: Entry] = [:]

    static func of(_ root: ByteString, ignoringSpecialBits: Bool = false) throws -> Tree {
        var tree = Tree()
        func walk(_ directory: ByteString, _ prefix: ByteString) throws {
            for entry in try HostFileSystem().list(directory) {
                let (path, name) = (directory.appending(entry.name), prefix.appending(entry.name))
                let status = try HostFileSystem().status(of: path)
                let isDirectory = status.kind == .directory
                tree.entries[name] = Entry(
                    mode: status.mode & (ignoringSpecialBits ? ~0o6000 : ~0),
                    links: isDirectory ? 0 : status.linkCount,
                    modified: status.modified, contents: try contents(path, status.kind))
                if isDirectory { try walk(path, name) }
            }
        }
        try walk(root, "")
        return tree
    }

    private static func contents(_ path: ByteString, _ kind: FileStatus.Kind) throws -> [UInt8] {
        switch kind {
        case .regular:
            let file = try FileDescriptor.open(path, O_RDONLY)
            var bytes = [UInt8](repeating: 0, count: Int(try file.status().size))
            _ = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
            return bytes
        case .symlink:
            var buffer = [CChar](repeating: 0, count: 4096)
            let count = path.withCString { readlink($0, &buffer, buffer.count) }
            return buffer[..<max(0, count)].map { UInt8(bitPattern: $0) }
        case .directory, .other: return []
        }
    }
}
