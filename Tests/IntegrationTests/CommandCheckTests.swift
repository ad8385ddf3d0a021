import Glibc
import System
import Testing

/// Damage of each kind to each kind of object: `check` finds it, names it, and tells what it hurts.
@Suite struct CommandCheckTests {
    enum Harm: String, CaseIterable { case truncate, flip, delete, swap }

    private func harm(_ harm: Harm, _ path: ByteString, _ other: ByteString?, _ place: Workplace) throws {
        var bytes = try place.read(path)
        try HostFileSystem().unlink(path)
        switch harm {
        case .delete: return
        case .truncate: bytes.removeLast(max(1, bytes.count / 3))
        case .flip: bytes[bytes.count / 2] ^= 0x10
        case .swap: bytes = try place.read(try #require(other))
        }
        try place.write(path, bytes)
    }

    private func damages(_ place: Workplace, _ arguments: [String] = []) throws -> [JSON] {
        let result = try place.run((["check", "--read-data"] + arguments).map { ByteString($0) })
        #expect(result.status == 5, "\(result.text) \(result.errors)")
        return try place.json("check", "--read-data")["damages"]?.list ?? []
    }

    @Test func aSoundStore() throws {
        let place = try Workplace(committed: true)
        let report = try place.json("check", "--read-data")
        #expect(report["sound"]?.bool == true)
        #expect(report["checked"]?["snapshots"]?.number == 2)
        #expect(report["checked"]?["dataBytes"]?.number ?? 0 > 3_145_728)
        #expect(try place.run("check").status == 0)
    }

    @Test func aMissingPackIsDamageAndTheOtherFilesAreExported() throws {
        let place = try Workplace(committed: true)
        let state = try place.json("stat", "data:large.bin")
        let object = try #require(state["packs"]?.list.first?["object"]?.string)
        try HostFileSystem().unlink(place.store.appending(ByteString(object)))
        #expect(try place.run("cat", "data:large.bin").status == 5)
        let result = try place.run("export", "data", "out")
        #expect(result.status == 5)
        #expect(!result.text.contains("every byte verified"))
        #expect(result.text.contains("not written: large.bin"), "\(result.text)")
        #expect(result.errors.contains("kaml check --read-data"))
        #expect(try place.read(place.path("out/new.txt")) == Array("new\n".utf8))
        let damages = try damages(place)
        #expect(damages.contains { $0["problem"]?.string == "missing" })
    }

    @Test func whatKilledCommitsLeftIsToldAndRemoved() throws {
        let place = try Workplace(committed: true)
        let left = place.store.appending(".tmp").appending("0123")
        try place.write(left, Array(repeating: 1, count: 100))
        #expect(try place.json("check")["temporary"]?["bytes"]?.number == 100)
        #expect(try place.succeed("check").text.contains("unfinished"))
        try place.succeed("commit", "data", "src")
        #expect(try place.json("check")["temporary"]?["files"]?.number == 1)
        // Two days old.
        #expect(try place.run(program: "/bin/touch", ["-d", "2 days ago", left]).status == 0)
        try place.succeed("commit", "data", "src")
        #expect(try place.json("check")["temporary"]?["files"]?.number == 0)
    }

    @Test(arguments: Harm.allCases) func packs(_ kind: Harm) throws {
        let place = try Workplace(committed: true)
        let packs = try place.objects("packs")
        for pack in packs {
            let saved = try place.read(pack)
            try harm(kind, pack, packs.first { $0 != pack }, place)
            let found = try damages(place)
            let name = try #require(pack.bytes.split(separator: UInt8(ascii: "/")).last)
            let damage = try #require(
                found.first { $0["object"]?.string?.hasSuffix(String(decoding: name, as: UTF8.self)) == true }
            )
            #expect(damage["kind"]?.string == "pack")
            #expect(damage["paths"]?.number ?? 0 > 0, "\(damage)")
            #expect(damage["snapshots"]?.list.contains { $0["dataset"]?.string == "data" } == true)
            try? HostFileSystem().unlink(pack)
            try place.write(pack, saved)
        }
        #expect(try place.run("check", "--read-data").status == 0)
    }

    @Test(arguments: Harm.allCases) func manifests(_ kind: Harm) throws {
        let place = try Workplace(committed: true)
        let manifests = try place.objects("manifests")
        for manifest in manifests {
            let saved = try place.read(manifest)
            try harm(kind, manifest, manifests.first { $0 != manifest }, place)
            let found = try damages(place)
            #expect(found.contains { ($0["kind"]?.string ?? "").hasPrefix("manifest") }, "\(found)")
            #expect(found.contains { !($0["snapshots"]?.list ?? []).isEmpty }, "\(found)")
            try? HostFileSystem().unlink(manifest)
            try place.write(manifest, saved)
        }
        #expect(try place.run("check").status == 0)
    }

    @Test(arguments: Harm.allCases) func logRecords(_ kind: Harm) throws {
        let place = try Workplace(committed: true)
        try place.succeed("tag", "data", "v1")
        let records = try place.objects("log")
        // The last record that goes missing is not there to be missed: nothing after it tells.
        for record in kind == .delete ? Array(records.dropLast()) : records {
            let saved = try place.read(record)
            try harm(kind, record, records.first { $0 != record }, place)
            let found = try damages(place)
            #expect(
                found.contains { $0["kind"]?.string == "logRecord" && $0["wholeStore"]?.bool == true },
                "\(found)")
            #expect(try place.run("log", "data").status == 5)
            try? HostFileSystem().unlink(record)
            try place.write(record, saved)
        }
        #expect(try place.run("check").status == 0)
    }

    @Test func aDamagedFileIsNeverWrittenAndTheOthersAre() throws {
        let place = try Workplace(committed: true)
        let large = try #require(
            try place.json("stat", "data:large.bin")["packs"]?.list.first?["object"]?.string)
        let pack = place.store.appending(ByteString(large))
        var bytes = try place.read(pack)
        bytes[1 << 20] ^= 1
        try HostFileSystem().unlink(pack)
        try place.write(pack, bytes)
        #expect(try place.run("cat", "data:large.bin").status == 5)
        let result = try place.run("export", "data", "out")
        #expect(result.status == 5)
        // Both names of the file.
        #expect(result.errors.contains("2 files were not written"))
        #expect((try? HostFileSystem().status(of: place.path("out/large.bin"))) == nil)
        #expect(
            try place.read(place.path("out/sub/deep/file")) == place.read(place.path("src/sub/deep/file")))
    }

    @Test func whatNoSnapshotNamesIsCounted() throws {
        let place = try Workplace(committed: true)
        let stray = place.store.appending("packs/ab/ab000000000000000000000000000000")
        try HostFileSystem().makeDirectories(place.store.appending("packs/ab"))
        try place.write(stray, [1, 2, 3])
        let report = try place.json("check")
        #expect(report["sound"]?.bool == true)
        #expect(report["unreferenced"]?["packs"]?.number == 1)
        #expect(report["unreferenced"]?["packBytes"]?.number == 3)
    }

    @Test func onlyTheDatasetAskedForIsChecked() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("other"))
        try place.write("other/own", String(repeating: "own data ", count: 50))
        let before = Set(try place.objects("packs"))
        try place.succeed("commit", "other", "other")
        let pack = try #require(Set(try place.objects("packs")).subtracting(before).first)
        try HostFileSystem().unlink(pack)
        #expect(try place.run("check", "data").status == 0)
        #expect(try place.run("check", "other").status == 5)
    }
}
