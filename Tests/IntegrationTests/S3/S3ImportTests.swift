import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// Buckets as they are: imported, not copied.
    @Suite struct Imports {
        /// Puts a few objects under a new prefix, behind the back of kaml; gives its URL.
        private static func fill(_ server: S3Server, _ prefix: String, in bucket: String? = nil) throws
            -> String
        {
            let folder = ByteString(prefix + "/")
            try server.put(ByteString(folder.bytes + "a/one.txt".utf8), "one\n", in: bucket)
            try server.put(ByteString(folder.bytes + "a/two.txt".utf8), "two\n", in: bucket)
            try server.put(ByteString(folder.bytes + "large.bin".utf8), size: 9_000_001, seed: 5, in: bucket)
            return "s3://\(bucket ?? server.bucket)/\(prefix)"
        }

        /// Without versions in the bucket, and on every server.
        @Test(arguments: S3Server.Kind.allCases)
        func `a bucket becomes a snapshot by its listing, and is read from where it lies`(kind: S3Server.Kind)
            async throws
        {
            let server = try S3Server.shared(kind)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                let prefix = server.newPrefix()
                let url = try Self.fill(server, prefix)
                try lab.kaml("import", "data", ByteString(url))
                let mount = try lab.mount()
                #expect(try readWhole(mount.path("a/one.txt")) == Array("one\n".utf8))
                let large = try readWhole(mount.path("large.bin"))
                #expect(large.count == 9_000_001)
                // Again: nothing changed, then one object.
                let before = try lab.kaml("log", "data").text
                try lab.kaml("import", "data", ByteString(url))
                #expect(try lab.kaml("log", "data").text == before)
                try server.put(ByteString("\(prefix)/a/three.txt"), "three\n")
                try lab.kaml("import", "data", ByteString(url))
                #expect(try lab.kaml("cat", "data:a/three.txt").text == "three\n")
                // A copy needs the bucket no more.
                try lab.kaml("import", "copy", ByteString(url), "--copy")
                for name in ["a/one.txt", "a/two.txt", "a/three.txt", "large.bin"] {
                    try server.delete(ByteString("\(prefix)/\(name)"))
                }
                try lab.kaml("export", "copy", lab.path("out"))
                #expect(try readWhole(lab.path("out/large.bin")) == large)
                // What the node has read it keeps.
                #expect(try firstDifference(lab.path("out/large.bin"), mount.path("large.bin")) == nil)
                try mount.unmount()
            }
        }

        @Test func `an object that changed fails its read, and the error says which and what to do`()
            async throws
        {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                let prefix = server.newPrefix()
                let url = try Self.fill(server, prefix)
                try lab.kaml("import", "data", ByteString(url))
                try server.put(ByteString("\(prefix)/a/one.txt"), "ONE\n")
                try server.delete(ByteString("\(prefix)/a/two.txt"))
                let mount = try lab.mount()
                for name in ["a/one.txt", "a/two.txt"] as [ByteString] {
                    let failed = try lab.run(["cat", mount.path(name)])
                    #expect(failed.status == 1 && failed.errors.contains("Input/output error"), "\(failed)")
                    #expect(failed.output.isEmpty, "not a byte of the new one")
                    #expect(mount.log.contains("\(name)"), "\(mount.log)")
                }
                #expect(mount.log.contains("kaml import"), "\(mount.log)")
                #expect(try readWhole(mount.path("large.bin")).count == 9_000_001)
                let cat = try lab.run(["kaml", "cat", "data:a/one.txt"])
                #expect(cat.status != 0 && cat.output.isEmpty)
                #expect(cat.errors.contains("a/one.txt") && cat.errors.contains("kaml import"), "\(cat)")
                try mount.unmount()
                // As the error says.
                try lab.kaml("import", "data", ByteString(url))
                #expect(try lab.kaml("cat", "data:a/one.txt").text == "ONE\n")
                #expect(try lab.run(["kaml", "cat", "data:a/two.txt"]).status == 3)
            }
        }

        @Test func `where the bucket keeps versions, the old one is read`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                let prefix = server.newPrefix()
                let url = try Self.fill(server, prefix, in: server.versionedBucket)
                try lab.kaml("import", "data", ByteString(url))
                try server.put(ByteString("\(prefix)/a/one.txt"), "ONE\n", in: server.versionedBucket)
                try server.delete(ByteString("\(prefix)/a/two.txt"), in: server.versionedBucket)
                let mount = try lab.mount()
                #expect(try readWhole(mount.path("a/one.txt")) == Array("one\n".utf8))
                #expect(try readWhole(mount.path("a/two.txt")) == Array("two\n".utf8))
                try mount.unmount()
                try lab.kaml("import", "data", ByteString(url))
                #expect(try lab.kaml("cat", "data:a/one.txt").text == "ONE\n")
                #expect(try lab.kaml("cat", "data@main~1:a/one.txt").text == "one\n")
            }
        }

        /// Keys that S3 allows and file systems do not, and those that only look odd.
        @Test func `odd keys become files or are reported, and none leaves the mount`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                let prefix = server.newPrefix()
                let kept = [
                    "plain", "with space", "a+b%2F&=?#", "caf\u{E9}", "\u{1F600}", "quote\"'<>&amp;",
                    "~tilde", "tab\there",
                    "line\nbreak", "trailing.", String(repeating: "n", count: 255),
                ]
                for name in kept { try server.put(ByteString("\(prefix)/in/\(name)"), name) }
                let left = [
                    "in//twice", "in/./dot", "in/../../up", "in/" + String(repeating: "n", count: 256),
                ]
                for name in left { try server.put(ByteString("\(prefix)/\(name)"), "left out") }
                let told = try lab.kaml(
                    "import", "data", ByteString("s3://\(server.bucket)/\(prefix)"), "-o", "json")
                for reason in ["emptySegment", "dotSegment", "nameTooLong"] {
                    #expect(told.text.contains(reason), "\(told.text)")
                }
                let mount = try lab.mount()
                #expect(try names(mount.path("in")) == Set(kept.map { ByteString($0) }))
                for name in kept {
                    let got = try readWhole(mount.path("in").appending(ByteString(name)))
                    #expect(got == Array(name.utf8), "\(name)")
                }
                try mount.unmount()
            }
        }

        /// A snapshot is data: it must not send this node's credentials to a server of its own choice.
        @Test func `a source on another server than the store's is refused until it is listed`() async throws
        {
            let (rgw, moto) = (try S3Server.shared(.rgw), try S3Server.shared(.moto))
            try await inLab { lab in
                lab.use(rgw)
                try lab.kaml("store", "init")
                let url = try Self.fill(moto, moto.newPrefix()) + "?endpoint=\(moto.endpoint)"
                // moto takes any key.
                try lab.kaml("import", "data", ByteString(url))
                let refused = try lab.run(["kaml", "cat", "data:a/one.txt"])
                #expect(refused.status != 0 && refused.errors.contains("KAML_SOURCES"), "\(refused)")
                lab.set(["KAML_SOURCES": url])
                #expect(try lab.kaml("cat", "data:a/one.txt").text == "one\n")
            }
        }

        @Test func `datasets move between a directory and a bucket, and only what is missing moves`()
            async throws
        {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                let bucket = ByteString(lab.use(server))
                try lab.kaml("store", "init")
                let directory = ByteString("file://\(lab.path("local"))")
                try lab.kaml("store", "init", "--store", directory)
                try lab.makeSmallTree()
                try lab.kaml("commit", "data", lab.source, "--store", directory)
                try lab.kaml("push", "data", "--to", bucket, "--store", directory)
                let mount = try lab.mount()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
                try writeWhole(lab.source.appending("new"), Array("new\n".utf8))
                try lab.commit()
                try lab.kaml("pull", "data", "--from", bucket, "--store", directory)
                try lab.kaml("export", "data", lab.path("out"), "--store", directory)
                #expect(try differences(lab.source, lab.path("out")) == [])
                #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)
            }
        }
    }
}
