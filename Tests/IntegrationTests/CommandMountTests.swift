import Glibc
import System
import Testing

/// `mount` and `umount` as a person meets them; what a mount serves is tested elsewhere. Needs /dev/fuse.
@Suite(.serialized, .enabled(if: access("/dev/fuse", R_OK | W_OK) == 0 && geteuid() == 0))
struct CommandMountTests {
    @Test func aMountAnswersWhenTheCommandReturns() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("mnt"))
        let mounted = try place.json("mount", "data", "mnt", "--cache-dir", "cache")
        #expect(mounted["process"]?.number ?? 0 > 1)
        #expect(
            try Workplace.readInChild(place, "mnt/sub/deep/file")
                == place.read(place.path("src/sub/deep/file")))
        #expect(try place.run("mount", "data", "mnt", "--cache-dir", "other").status == 4)
        try place.succeed("umount", "mnt")
        #expect(try HostFileSystem().list(place.path("mnt")).isEmpty)
        #expect(try place.run("umount", "mnt").status == 3)
        // At once: the old process may still be tidying up.
        try place.succeed("mount", "data@main~1", "mnt", "--cache-dir", "cache")
        #expect(try Workplace.readInChild(place, "mnt/gone.txt") == Array("going\n".utf8))
        try place.succeed("umount", "mnt")
    }

    @Test func aFailureInTheBackgroundIsTheCommandsOwn() throws {
        let place = try Workplace(committed: true)
        let missing = try place.run("mount", "data", "nowhere", "--cache-dir", "cache")
        #expect(missing.status == 3)
        #expect(missing.errors.contains("mkdir -p"))
        #expect(try place.run("mount", "data", "src", "--cache-dir", "cache").status == 4)
        #expect(try place.run("mount", "data@nope", "src", "--cache-dir", "cache").status == 3)
        #expect(
            try place.json("mount", "data", "nowhere", "--cache-dir", "cache")["error"]?["exitCode"]?.number
                == 3)
    }

    @Test func onlyMountsOfDatasetsAreUnmounted() throws {
        let place = try Workplace()
        try HostFileSystem().makeDirectories(place.path("memory"))
        let point = "\(place.path("memory"))"
        // A file system of the test's own, so that a failure takes nothing else away.
        guard Glibc.mount("none", point, "tmpfs", 0, nil) == 0 else { return }
        defer { umount2(point, Int32(2)) }
        try place.write("memory/file", "still here")
        #expect(try place.run("umount", "memory").status == 3)
        #expect(try place.run("umount", "--lazy", "memory").status == 3)
        #expect(try place.read(place.path("memory/file")) == Array("still here".utf8))
    }
}

extension Workplace {
    /// Reads a file in another process: a test must not wait for its own mount on a thread that others need.
    static func readInChild(_ place: Workplace, _ relative: String) throws -> [UInt8] {
        try place.run(program: "/bin/cat", [place.path(relative)]).output
    }
}
