import Glibc
import System
import Testing

/// `push`, `pull` and `clone` between two stores, as a person uses them.
@Suite struct CommandMoveTests {
    private func other(_ place: Workplace, _ arguments: String...) throws -> CommandResult {
        try place.run(
            arguments.map { ByteString($0) }, environment: ["KAML_STORE": "\(place.path("other"))"])
    }

    @Test func aPushIsTheWholeHistory() throws {
        let place = try Workplace(committed: true)
        try place.succeed("tag", "data", "v1", "main~1")
        try place.succeed("store", "init", "--store", "other")
        let pushed = try place.json("push", "data", "--to", "other", "--tags")
        #expect(pushed["changed"]?.bool == true)
        #expect(pushed["branches"]?.list.first?["commits"]?.number == 2)
        #expect(pushed["tags"]?.list == [.string("v1")])
        #expect(pushed["packs"]?["copied"]?.number ?? 0 > 0)
        #expect(pushed["to"]?.string?.hasSuffix("/other") == true)
        let (here, there) = (try place.succeed("log", "data").text, try other(place, "log", "data").text)
        #expect(here == there)
        #expect(try other(place, "check", "--read-data").status == 0)
        #expect(try other(place, "export", "data", "out").status == 0)
        #expect(
            try place.run(program: "/usr/bin/diff", ["-r", "--no-dereference", "src", "out"]).status == 0)

        let again = try place.json("push", "data", "--to", "other")
        #expect(again["changed"]?.bool == false)
        #expect(again["packs"]?["copied"]?.number == 0)
        #expect(try place.succeed("push", "data", "--to", "other").text.contains("is up to date"))
    }

    @Test func aPullBringsOneSnapshotWhenAskedTo() throws {
        let place = try Workplace(committed: true)
        try place.succeed("store", "init", "--store", "other")
        let text = try other(place, "pull", "data", "--from", "store", "--only", "--as", "mine/data")
        #expect(text.status == 0, "\(text.errors)")
        #expect(text.text.contains("mine/data@main"))
        #expect(text.text.contains("every byte verified"))
        #expect(try other(place, "log", "mine/data").text.contains("first") == false)
        #expect(try other(place, "cat", "mine/data:new.txt").text == "new\n")
        #expect(try other(place, "pull", "data@nope", "--from", "store").status == 3)
        #expect(try other(place, "pull", "data", "--from", "nowhere").status == 3)
        #expect(try other(place, "pull", "data", "--from", "store", "--only", "--depth", "2").status == 2)
    }

    @Test func aCloneIsNew() throws {
        let place = try Workplace(committed: true)
        try place.succeed("branch", "data", "side", "main~1")
        try place.succeed("tag", "data", "v1", "main~1")
        try place.succeed("store", "init", "--store", "other")
        #expect(try other(place, "clone", "data", "--from", "store").status == 0)
        let names = try other(place, "list", "-o", "json").text
        for name in ["main", "side", "v1"] { #expect(names.contains("\"\(name)\""), "\(names)") }
        let again = try other(place, "clone", "data", "--from", "store")
        #expect(again.status == 4)
        #expect(again.errors.contains("kaml pull"))
        #expect(try other(place, "clone", "data@side", "--from", "store", "--as", "one").status == 0)
    }

    @Test func branchesThatWentApartAreToldWithTheWayOut() throws {
        let place = try Workplace(committed: true)
        try place.succeed("store", "init", "--store", "other")
        try place.succeed("push", "data", "--to", "other")
        try place.write("src/here", "here")
        try place.succeed("commit", "data", "src")
        try place.write("src/there", "there")
        #expect(try other(place, "commit", "data", "src").status == 0)
        let refused = try place.run("push", "data", "--to", "other")
        #expect(refused.status == 4)
        #expect(refused.errors.contains("--branch"))
        try place.succeed("push", "data", "--to", "other", "--branch", "from-here")
        #expect(try other(place, "cat", "data@from-here:here").text == "here")
    }

    @Test func aDamagedPackIsNamed() throws {
        let place = try Workplace(committed: true)
        try place.succeed("store", "init", "--store", "other")
        let pack = try #require(try place.objects("packs").first)
        var bytes = try place.read(pack)
        bytes[bytes.count / 3] ^= 0x40
        try HostFileSystem().unlink(pack)
        try place.write(pack, bytes)
        let refused = try place.run("push", "data", "--to", "other")
        #expect(refused.status == 5)
        let name = try #require("\(pack)".split(separator: "/").last)
        #expect(refused.errors.contains(name))
        #expect(try other(place, "list", "-o", "json").text.contains("\"name\": \"data\"") == false)
    }
}

/// `warm`, before a mount and beside one.
@Suite(.serialized) struct CommandWarmTests {
    @Test func aCheckTellsWhatIsMissing() throws {
        let place = try Workplace(committed: true)
        let before = try place.run("warm", "data", "--cache-dir", "cache", "--check", "-o", "json")
        #expect(before.status == 1)
        #expect(before.text.contains("\"complete\": false"))
        let warmed = try place.json("warm", "data", "--cache-dir", "cache")
        #expect(warmed["complete"]?.bool == true)
        #expect(warmed["fetchedBytes"]?.number == warmed["bytes"]?.number)
        #expect(warmed["interrupted"]?.bool == false)
        #expect(try place.run("warm", "data", "--cache-dir", "cache", "--check").status == 0)
        #expect(try place.json("warm", "data", "--cache-dir", "cache")["fetchedBytes"]?.number == 0)
        #expect(try place.run("warm", "data", "sub/deep", "new.txt", "--cache-dir", "second").status == 0)
        #expect(try place.run("warm", "data", "sub", "--cache-dir", "second", "--check").status == 1)
        #expect(try place.run("warm", "data", "nothing", "--cache-dir", "second").status == 3)
        #expect(try place.run("warm", "data", "--check", "--evict", "--cache-dir", "second").status == 2)
    }

    @Test func anEvictionGivesTheRoomBack() throws {
        let place = try Workplace(committed: true)
        try place.succeed("warm", "data", "--cache-dir", "cache")
        let evicted = try place.json("warm", "data", "--cache-dir", "cache", "--evict")
        #expect(evicted["evictedPacks"]?.number ?? 0 > 0)
        #expect(evicted["freedBytes"]?.number ?? 0 > 3_000_000)
        #expect(evicted["keptPacks"]?.number == 0)
        #expect(try place.run("warm", "data", "--cache-dir", "cache", "--check").status == 1)
    }

    /// The store keeps nothing but its log: all else must come from the cache.
    @Test(.enabled(if: access("/dev/fuse", R_OK | W_OK) == 0 && geteuid() == 0))
    func aWarmSnapshotNeedsNoStore() throws {
        let place = try Workplace(committed: true)
        try place.succeed("warm", "data", "--cache-dir", "cache")
        for folder in ["packs", "manifests"] as [ByteString] {
            try HostFileSystem().rename(place.store.appending(folder), place.path("aside-\(folder)"))
        }
        try HostFileSystem().makeDirectories(place.path("mnt"))
        let mounted = try place.json("mount", "data", "mnt", "--cache-dir", "cache")
        #expect(mounted["process"]?.number ?? 0 > 1, "\(mounted)")
        #expect(
            try place.run(program: "/usr/bin/diff", ["-r", "--no-dereference", "src", "mnt"]).status == 0)
        let refused = try place.run("warm", "data", "--cache-dir", "cache", "--check")
        #expect(refused.status == 4)
        #expect(refused.errors.contains("mount"))
        try place.succeed("umount", "mnt")
    }
}
