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
        #expect(mounted["name"]?.string == "data@main")
        #expect(mounted["mountPoint"]?.string?.hasSuffix("/mnt") == true)
        #expect(mounted["mountPoint"]?.string?.hasPrefix("/") == true)
        #expect(mounted["profile"]?.string == "small")
        #expect(mounted["passthrough"]?.bool == false)
        #expect(mounted["snapshot"]?.string?.count == 64)
        let log = try #require(mounted["log"]?.string)
        #expect(String(decoding: try place.read(ByteString(log)), as: UTF8.self).contains("profile small"))
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

    @Test func aSecondSignalEndsTheProcessAlthoughAFileIsOpen() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("mnt"))
        let mounted = try place.json("mount", "data", "mnt", "--cache-dir", "cache")
        let process = pid_t(try #require(mounted["process"]?.number))
        let log = ByteString(try #require(mounted["log"]?.string))
        // Without a read: the test's thread must not wait for the mount longer than open takes.
        let file = try FileDescriptor.open(place.path("mnt/large.bin"), O_RDONLY)
        kill(process, SIGTERM)
        #expect(try wait { String(decoding: try place.read(log), as: UTF8.self).contains("second signal") })
        #expect(Workplace.isRunning(process))
        kill(process, SIGTERM)
        #expect(try wait { !Workplace.isRunning(process) })
        #expect(try HostFileSystem().list(place.path("mnt")).isEmpty)
        withExtendedLifetime(file.rawValue) {}
    }

    @Test func oneSignalEndsAProcessWhoseMountIsOutOfTheTree() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("mnt"))
        let mounted = try place.json("mount", "data", "mnt", "--cache-dir", "cache")
        let process = pid_t(try #require(mounted["process"]?.number))
        let file = try FileDescriptor.open(place.path("mnt/large.bin"), O_RDONLY)
        let answer = try place.json("umount", "--lazy", "mnt")
        #expect(answer["mountPoint"]?.string?.hasSuffix("/mnt") == true)
        #expect(Workplace.isRunning(process))
        kill(process, SIGTERM)
        #expect(try wait { !Workplace.isRunning(process) })
        withExtendedLifetime(file.rawValue) {}
    }

    private func wait(_ condition: () throws -> Bool) throws -> Bool {
        for _ in 0..<200 {
            if try condition() { return true }
            usleep(50_000)
        }
        return false
    }

    @Test func aDirectoryWithEntriesIsMountedOverOnlyWhenAsked() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("full"))
        try place.write("full/own", "own")
        let refused = try place.run("mount", "data", "full", "--cache-dir", "cache")
        #expect(refused.status == 4)
        #expect(refused.errors.contains("--allow-non-empty"))
        try place.succeed("mount", "data", "full", "--cache-dir", "cache", "--allow-non-empty")
        #expect(try Workplace.readInChild(place, "full/new.txt") == Array("new\n".utf8))
        try place.succeed("umount", "full")
        #expect(try place.read(place.path("full/own")) == Array("own".utf8))
    }

    @Test func aDirectoryThatIsNoCacheIsLeftAlone() throws {
        let place = try Workplace(committed: true)
        try HostFileSystem().makeDirectories(place.path("mnt"))
        for other in ["src", "src/changed.txt", "store"] {
            let result = try place.run("mount", "data", "mnt", "--cache-dir", ByteString(other).description)
            #expect(result.status == 4, "\(other): \(result.errors)")
            #expect(result.errors.contains("\(place.path(other))"))
            #expect(result.errors.contains("--cache-dir"))
        }
        #expect((try? HostFileSystem().status(of: place.path("src/VERSION"))) == nil)
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
    /// A process that has ended but that nobody waited for counts as ended.
    static func isRunning(_ process: pid_t) -> Bool {
        guard let file = try? FileDescriptor.open(ByteString("/proc/\(process)/stat"), O_RDONLY) else {
            return false
        }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = (try? bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }) ?? 0
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        return count > 0 && !text.contains(") Z ")
    }

    /// Reads a file in another process: a test must not wait for its own mount on a thread that others need.
    static func readInChild(_ place: Workplace, _ relative: String) throws -> [UInt8] {
        try place.run(program: "/bin/cat", [place.path(relative)]).output
    }
}
