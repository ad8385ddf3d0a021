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

    @Test func aStoreThatVanishedExitsWith7() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().rename(place.store, place.path("elsewhere"))
        let result = try place.run("log", "data")
        #expect(result.status == 7)
        #expect(result.errors.contains("hint: "))
        try HostFileSystem().rename(place.path("elsewhere"), place.store)
        try place.succeed("log", "data")
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
