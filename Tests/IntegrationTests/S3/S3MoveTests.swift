import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    @Suite struct Moving {
        @Test(arguments: S3Server.Kind.allCases)
        func `a dataset goes into a bucket and out again, with its history`(kind: S3Server.Kind) async throws
        {
            let server = try S3Server.shared(kind)
            try await inLab { lab in
                lab.use(server)
                let (local, copy) = (lab.path("local"), lab.path("copy"))
                for place in [local, copy] {
                    try HostFileSystem().makeDirectory(place, mode: 0o755)
                    try lab.kaml("store", "init", "--store", place)
                }
                try lab.kaml("store", "init")
                try lab.makeSmallTree()
                try lab.kaml("commit", "data", lab.source, "-m", "first", "--store", local)
                try writeWhole(lab.source.appending("folder/text"), Array("changed\n".utf8))
                try lab.kaml("commit", "data", lab.source, "-m", "second", "--store", local)

                let pulled = try lab.kaml("pull", "data", "--from", local)
                #expect(pulled.text.contains("2 commits more"), "\(pulled)")
                #expect(try lab.kaml("pull", "data", "--from", local).text.contains("up to date"))
                #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)

                try lab.kaml("push", "data", "--to", copy)
                let log = try lab.kaml("log", "data", "--store", copy).text
                let original = try lab.kaml("log", "data", "--store", local).text
                #expect(log == original)
                try lab.kaml("export", "data", lab.path("exported"), "--store", copy)
                #expect(try differences(lab.source, lab.path("exported")) == [])
            }
        }

        @Test(arguments: S3Server.Kind.allCases)
        func `a snapshot that was warmed from a bucket is mounted and read without fetching`(
            kind: S3Server.Kind
        ) async throws {
            let server = try S3Server.shared(kind)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                try lab.makeSmallTree()
                try lab.commit()
                let warmed = try lab.kaml("warm", "data", "--cache-dir", lab.path("cache"))
                #expect(warmed.text.contains("every chunk verified"), "\(warmed)")
                #expect(
                    try lab.run(["kaml", "warm", "data", "--cache-dir", lab.path("cache"), "--check"]).status
                        == 0)
                let before = try lab.cacheCounter("fetched_bytes")
                let mount = try lab.mount()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
                let after = try lab.cacheCounter("fetched_bytes")
                #expect(before == after)
            }
        }
    }
}
