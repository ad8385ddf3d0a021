import Glibc
import KamlTestSupport
import System
import Testing

/// Full disks, and disks that fail a sync.
@Suite(.serialized, .enabled(if: canMount, "needs root")) struct NoSpaceTests {
    private static func fill(_ place: ByteString, leaving bytes: Int) throws {
        var status = statvfs()
        guard place.withCString({ statvfs($0, &status) }) == 0 else { throw Errno.last }
        let free = Int(status.f_bavail * status.f_frsize)
        try writeWhole(place.appending("ballast"), [UInt8](repeating: 1, count: max(0, free - bytes)))
    }

    /// Every amount of free space stops the commit at another place.
    @Test(arguments: [0, 8_000, 200_000, 1_500_000, 2_600_000])
    func
        `a commit into a full store fails with its exit code and a remedy, and goes through once there is space`(
            free: Int
        )
        async throws
    {
        try await inLab { lab in
            let disk = try lab.smallFileSystem("store", options: "size=12m")
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            try lab.commit(to: "before")
            let old = lab.path("old")
            try lab.shell("cp", "-a", lab.source, old)
            try lab.makeSmallTree(seed: 5)
            try Self.fill(disk, leaving: free)
            let full = try lab.run(["kaml", "commit", "data", lab.source])
            #expect(full.status == 6, "\(full)")
            #expect(full.errors.contains("hint:") && full.errors.contains("space"), "\(full)")
            // Also with a disk that is full, what is there can be read and checked.
            #expect(try lab.isSound("before", equals: old) == [])
            try HostFileSystem().unlink(disk.appending("ballast"))
            try lab.commit()
            #expect(try lab.isSound("data", equals: lab.source) == [])
            #expect(try lab.isSound("before", equals: old) == [])
        }
    }

    @Test func `a store without free inodes is a full store`() async throws {
        try await inLab { lab in
            _ = try lab.smallFileSystem("store", options: "size=20m,nr_inodes=12")
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            let full = try lab.run(["kaml", "commit", "data", lab.source])
            #expect(full.status == 6, "\(full)")
            #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)
            try lab.shell("mount", "-o", "remount,nr_inodes=1000", lab.store)
            try lab.commit()
            #expect(try lab.isSound("data", equals: lab.source) == [])
        }
    }

    /// The cache's disk is full from the start, fills up on the way, or has no inodes.
    @Test(arguments: ["size=64k", "size=1m", "size=2m", "size=8m,nr_inodes=9"] as [ByteString])
    func `a full cache costs speed and no read, and is told of once`(options: ByteString) async throws {
        try await inLab { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            try lab.commit()
            let cache = try lab.smallFileSystem("small-cache", options: options)
            try lab.shell("chmod", "0700", cache)
            for profile in ["large", "small"] as [ByteString] {
                let mount = try lab.mount("data", cache: cache, ["--profile", profile])
                #expect(try differences(lab.source, mount.path) == [])
                let readers = try lab.startReaders(of: mount.path, count: 2, reads: 60, seed: 1)
                for reader in readers { #expect(try reader.wait().status == 0) }
                let notices = mount.log.split(separator: "\n").filter { $0.contains("space") }
                #expect(notices.count <= 1, "\(mount.log)")
                #expect(!mount.log.contains("Input/output error"), "\(mount.log)")
                try mount.unmount()
            }
        }
    }

    @Test func `a cache leaves a part of its disk free, and has none that is full`() async throws {
        try await inLab { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            try lab.commit()
            let cache = try lab.smallFileSystem("small-cache", options: "size=1m")
            try lab.shell("chmod", "0700", cache)
            let mount = try lab.mount("data", cache: cache)
            #expect(try differences(lab.source, mount.path) == [])
            var space = statvfs()
            #expect(cache.withCString { statvfs($0, &space) } == 0)
            #expect(space.f_bavail < space.f_blocks / 2)
            #expect(space.f_bavail >= space.f_blocks / 20)
            #expect(!mount.log.contains("No space left on device"), "\(mount.log)")
            try mount.unmount()
        }
    }

    /// A sync that fails may have thrown data away; a second one would not tell. So nothing of it is published.
    @Test(arguments: ["fsync", "pwrite64", "link", "openat"] as [ByteString])
    func `an I/O error at any call of a commit is an error or nothing, and the next commit is whole`(
        call: ByteString
    )
        async throws
    {
        try await inLab(seconds: 600) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            let empty = lab.path("empty-store")
            try lab.shell("cp", "-a", lab.store, empty)
            let path: [ByteString] =
                call == "openat" ? ["-P", lab.store, "-P", lab.store.appending(".tmp")] : []
            var number = 1
            while true {
                try lab.shell("rm", "-rf", lab.store, lab.path("xdg"))
                try lab.shell("cp", "-a", empty, lab.store)
                let trace: [ByteString] = [
                    "strace", "-f", "-qq", "-o", lab.path("injected"), "-e", ByteString("trace=\(call)"),
                    "-e",
                    ByteString("inject=\(call):error=EIO:when=\(number)"),
                ]
                let commit: [ByteString] = ["kaml", "commit", "data", lab.source]
                let hurt = try lab.run(trace + path + commit)
                let injected = String(decoding: try readWhole(lab.path("injected")), as: UTF8.self)
                let isDone = !injected.contains("INJECTED")
                let place = "EIO at \(call) \(number)"
                #expect(
                    hurt.status == 0 || (hurt.status == 1 && hurt.errors.contains("error:")),
                    "\(place): \(hurt)")
                if hurt.status == 0 {
                    let found = try lab.isSound("data", equals: lab.source)
                    #expect(found == [], "\(place)")
                }
                let check = try lab.run(["kaml", "check", "--read-data"])
                #expect(check.status == 0, "\(place): \(check)")
                let again = try lab.run(commit)
                let found = try lab.isSound("data", equals: lab.source)
                #expect(again.status == 0 && found == [], "\(place): \(again)")
                if isDone { return }
                number += isStress ? 1 : 3
            }
        }
    }
}
