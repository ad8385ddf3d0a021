import Glibc
import System
import Testing

extension OnMounts {
    /// Where a mount may go, what stands in its way, and how it ends.
    @Suite struct Places {
        /// Tries to mount, in the foreground and in the background: both must be refused in the same way.
        private static func refusal(
            _ lab: Lab, on place: ByteString, cache: ByteString, status: Int32, says words: String
        ) throws {
            for mode in [["--foreground"], []] as [[ByteString]] {
                let ended = try lab.run(["kaml", "mount", "data", place, "--cache-dir", cache] + mode)
                #expect(ended.status == status, "\(mode) \(ended)")
                #expect(ended.errors.contains(words) && ended.errors.contains("hint:"), "\(mode) \(ended)")
            }
        }

        @Test func `a missing, taken or full mount point is refused in words`() async throws {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let other = lab.path("other-cache")
                try Self.refusal(lab, on: lab.path("absent"), cache: other, status: 3, says: "does not exist")
                let file = lab.source.appending("large")
                try Self.refusal(lab, on: file, cache: other, status: 4, says: "not a directory")
                try Self.refusal(lab, on: lab.source, cache: other, status: 4, says: "not empty")
                let mount = try lab.mount()
                try Self.refusal(lab, on: mount.path, cache: other, status: 4, says: "already")
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        @Test func `a second mount on one cache directory is refused, and told who has it`() async throws {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let mount = try lab.mount()
                let second = lab.path("second")
                try HostFileSystem().makeDirectory(second, mode: 0o755)
                try Self.refusal(
                    lab, on: second, cache: mount.cache, status: 4,
                    says: "used by process \(mount.program.process)")
                #expect(try names(second) == [], "nothing is left mounted")
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
                try lab.mount("data", at: "second").unmount()
            }
        }

        @Test func `a mount in use is not taken away, but lazily, and then the open file works on`()
            async throws
        {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let mount = try lab.mount()
                do {
                    let open = try FileDescriptor.open(mount.path("large"), O_RDONLY)
                    let busy = try lab.run(["kaml", "umount", mount.path])
                    #expect(busy.status == 4 && busy.errors.contains("in use"), "\(busy)")
                    try lab.kaml("umount", "--lazy", mount.path)
                    #expect(try names(mount.path) == [])
                    let own = ByteString("/proc/\(getpid())/fd/\(open.rawValue)")
                    #expect(try firstDifference(lab.source.appending("large"), own) == nil)
                }
                #expect(try mount.program.wait(seconds: 20).status == 0)
                let gone = try lab.run(["kaml", "umount", mount.path])
                #expect(gone.status == 3, "\(gone)")
            }
        }

        @Test
        func
            `a mount in the background answers when the command returns, and its cache is free again after umount`()
            async throws
        {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let place = lab.path("mount")
                try HostFileSystem().makeDirectory(place, mode: 0o755)
                lab.willMount(place)
                for _ in 0..<3 {
                    try lab.kaml("mount", "data", place, "--cache-dir", lab.path("cache"))
                    #expect(try differences(lab.source, place) == [])
                    try lab.kaml("umount", place)
                    #expect(try names(place) == [])
                }
            }
        }

        @Test(arguments: Reading.profiles)
        func `a store that disappears fails only what is not cached, until it comes back`(profile: ByteString)
            async throws
        {
            try await inLab { lab in
                try lab.makeSmallTree()
                try writeWhole(lab.source.appending("other"), [UInt8](repeating: 5, count: 1_500_000))
                try lab.kaml("store", "init")
                try lab.commit()
                let mount = try lab.mount("data", ["--profile", profile])
                try lab.shell("cat", mount.path("large"))
                let away = lab.path("away")
                try HostFileSystem().rename(lab.store, away)
                // Out of the kernel's cache, so that the read asks the mount.
                try lab.shell(
                    "dd", "status=none", "iflag=nocache", "count=0", ByteString("if=\(mount.path("large"))"))
                try lab.shell("cmp", mount.path("large"), lab.source.appending("large"))
                for name in ["other", "folder/text"] as [ByteString] {
                    let failed = try lab.run(["cat", mount.path(name)])
                    #expect(failed.status == 1 && failed.errors.contains("Input/output error"), "\(failed)")
                    #expect(mount.log.contains("\(name)"), "\(mount.log)")
                }
                try HostFileSystem().rename(away, lab.store)
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }
    }
}
