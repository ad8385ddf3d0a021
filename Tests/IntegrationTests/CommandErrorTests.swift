import Glibc
import System
import Testing

/// Exit codes and what is said with them.
@Suite struct CommandErrorTests {
    @Test func whatIsNotUnderstoodExitsWith2() throws {
        let place = try Workplace()
        for arguments in [
            ["frob"], ["log"], ["log", "d", "--frob"], ["log", "d", "-o", "xml"],
            ["commit", "d", ".", "--level", "77"],
        ] {
            let result = try place.run(arguments.map { ByteString($0) })
            #expect(result.status == 2, "\(arguments)")
            #expect(result.output.isEmpty)
            #expect(result.errors.hasPrefix("error: "), "\(result.errors)")
        }
    }

    @Test func helpTeaches() throws {
        let place = try Workplace()
        let help = try place.succeed("--help").text
        for word in ["KAML_STORE", "EXIT CODES", "5  damaged data", "kaml mount"] {
            #expect(help.contains(word))
        }
        for command in [
            "commit", "log", "list", "branch", "tag", "reset", "diff", "ls", "cat", "stat", "export", "mount",
            "umount", "check", "stats", "doctor", "version",
        ] {
            let text = try place.succeed(command, "--help").text
            #expect(text.contains("  kaml \(command)"), "\(command) has no example")
        }
    }

    @Test func aMistypedNameListsItsNeighbours() throws {
        let place = try Workplace(committed: true)
        let dataset = try place.run("log", "dta")
        #expect(dataset.status == 3)
        #expect(dataset.errors.contains("did you mean data?"))
        let branch = try place.json("log", "data@mian")["error"]
        #expect(branch?["code"]?.string == "notFound")
        #expect(branch?["exitCode"]?.number == 3)
        #expect(branch?["hint"]?.string == "did you mean data@main?")
    }

    @Test func whatIsMissingExitsWith3() throws {
        let place = try Workplace(committed: true)
        for arguments in [
            ["log", "nope"], ["log", "data@main~7"], ["cat", "data:nope"], ["ls", "data:sub/nope"],
            ["check", "nope"], ["stats", "nope"], ["umount", "src"], ["tag", "data", "nope", "--delete"],
        ] {
            let result = try place.run(arguments.map { ByteString($0) })
            #expect(result.status == 3, "\(arguments): \(result.errors)")
        }
        try HostFileSystem().makeDirectories(place.path("bare"))
        let bare = try place.run("list", environment: ["KAML_STORE": "\(place.path("bare"))"])
        #expect(bare.status == 3)
        #expect(bare.errors.contains("kaml store init"))
    }

    @Test func aSecondStoreInOnePlaceConflicts() throws {
        let place = try Workplace()
        try place.succeed("store", "init")
        #expect(try place.run("store", "init").status == 4)
    }

    @Test func aStoreThatVanishedExitsWith3AndOneOnAMissingDiskWith7() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().rename(place.store, place.path("elsewhere"))
        let result = try place.run("log", "data")
        #expect(result.status == 3)
        #expect(result.errors.contains("hint: "))
        let far = try place.run("log", "data", environment: ["KAML_STORE": "\(place.path("disk/store"))"])
        #expect(far.status == 7)
        #expect(far.errors.contains("mounted"))
        let file = try place.run("log", "data", environment: ["KAML_STORE": "\(place.path("src/empty"))"])
        #expect(file.status == 3)
        #expect(file.errors.contains("is not a directory"))
        try HostFileSystem().rename(place.path("elsewhere"), place.store)
        try place.succeed("log", "data")
    }

    @Test func aStoreIsNotMadeAmongOtherFiles() throws {
        let place = try Workplace(committed: true)
        for other in ["src", "src/changed.txt"] {
            let result = try place.run("store", "init", "--store", other)
            #expect(result.status == 4, "\(other)")
            #expect(result.errors.contains("hint: "), "\(result.errors)")
        }
        #expect((try? HostFileSystem().status(of: place.path("src/store.json"))) == nil)
    }

    @Test func aStoreIsNotCommittedIntoItself() throws {
        let place = try Workplace(committed: true)
        #expect(symlink("\(place.path("."))", "\(place.path("link"))") == 0)
        for source in [".", "store", "store/packs", "link", "link/store"] {
            let result = try place.run("commit", "self", ByteString(source).description)
            #expect(result.status == 2, "\(source): \(result.errors)")
        }
        try place.succeed("commit", "other", "link/src")
    }

    @Test func anUnchangedTreeSaysThatItsMessageWasDropped() throws {
        let place = try Workplace(committed: true)
        let text = try place.succeed("commit", "data", "src", "-m", "lost").text
        #expect(text.contains("nothing was recorded"))
        #expect(try !place.succeed("commit", "data", "src").text.contains("nothing was recorded"))
    }

    @Test func mistypedCommandsGetASuggestion() throws {
        let place = try Workplace()
        let typo = try place.run("comit")
        #expect(typo.status == 2)
        #expect(typo.errors.contains("did you mean commit?"))
        let help = try place.run("help", "frob")
        #expect(help.status == 2)
        #expect(help.output.isEmpty)
        try place.succeed("help", "commit")
    }

    @Test func withoutItsBranchADatasetTellsItsNewestSnapshot() throws {
        let place = try Workplace(committed: true)
        let unlike = try place.run("log", "data@zzzzzzzz")
        #expect(unlike.errors.contains("data has the branch main"), "\(unlike.errors)")
        try place.succeed("branch", "data", "main", "--delete")
        let hint = try #require(try place.json("log", "data")["error"]?["hint"]?.string)
        let id = try #require(hint.split(separator: "@").last?.prefix(12))
        try place.succeed("branch", "data", "main", String(id))
        try place.succeed("log", "data")
    }

    @Test func aDamagedConfigurationIsOneClearLine() throws {
        let place = try Workplace(committed: true)
        let file = place.store.appending("store.json")
        try HostFileSystem().unlink(file)
        try place.write(file, Array("{".utf8))
        let result = try place.run("list")
        #expect(result.status == 5)
        #expect(!result.errors.contains("DecodingError"))
        #expect(!result.errors.contains("Debug"))
    }

    @Test func ofAFirstCommitEverythingIsNew() throws {
        let place = try Workplace(committed: true)
        let diff = try place.json("diff", "data@main~1")
        #expect(diff["from"] == nil)
        #expect(diff["removed"]?.list.isEmpty == true)
        #expect(diff["added"]?.list.contains { $0["path"]?.string == "gone.txt" } == true)
        #expect(diff["summary"]?["added"]?.number == Double(diff["added"]?.list.count ?? -1))
    }

    @Test func aNewerStoreIsRefused() throws {
        let place = try Workplace(committed: true)
        let file = place.store.appending("store.json")
        let text = String(decoding: try place.read(file), as: UTF8.self)
        let newer = text.split(separator: "\n").map {
            $0.contains("\"formatVersion\"") ? "  \"formatVersion\" : 9," : String($0)
        }
        try HostFileSystem().unlink(file)
        try place.write(file, Array(newer.joined(separator: "\n").utf8))
        for arguments in [["log", "data"], ["commit", "data", "src"], ["check"]] {
            let result = try place.run(arguments.map { ByteString($0) })
            #expect(result.status == 8, "\(arguments): \(result.errors)")
            #expect(result.errors.contains("format version 9"))
        }
    }

    @Test func withoutAStoreTheHintSaysHowToNameOne() throws {
        let place = try Workplace()
        let result = try place.run("list", environment: ["KAML_STORE": ""])
        #expect(result.status == 2)
        #expect(result.errors.contains("--store"))
    }

    @Test func completionCompletesNames() throws {
        let place = try Workplace(committed: true)
        #expect(try place.succeed("--generate-completion-script", "bash").text.contains("kaml"))
        #expect(try place.succeed("version").text.hasPrefix("kaml "))
    }
}
