import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// The command's main job, with the store in a bucket.
    @Suite struct InBuckets {
        @Test(arguments: S3Server.Kind.allCases)
        func `a store in a bucket takes commits, and gives them back by every way of reading`(
            kind: S3Server.Kind
        ) async throws {
            let server = try S3Server.shared(kind)
            try await inLab { lab in
                lab.use(server)
                let made = try lab.kaml("store", "init")
                // Swift's s3api refuses If-None-Match; the others honour it.
                #expect(made.errors.contains("single-writer") == (kind == .swift), "\(made)")
                try lab.makeSmallTree()
                try lab.commit()
                let first = lab.path("first")
                try lab.shell("cp", "-a", lab.source, first)
                try writeWhole(lab.source.appending("folder/text"), Array("changed\n".utf8))
                try writeWhole(lab.source.appending("new"), Array("new\n".utf8))
                try lab.commit()

                #expect(try lab.kaml("log", "data").text.split(separator: "\n").count >= 2)
                #expect(try lab.kaml("ls", "data").text.contains("new"))
                #expect(try lab.kaml("cat", "data:folder/text").text == "changed\n")
                let mount = try lab.mount()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
                try lab.kaml("export", "data@main~1", lab.path("exported"))
                #expect(try differences(first, lab.path("exported")) == [])
                #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)
                // Refused: somebody's store is there already.
                #expect(try lab.run(["kaml", "store", "init"]).status == 4)
            }
        }

        /// Larger than one part, so that it takes a multipart upload; RGW answers its end with an empty ETag.
        @Test(arguments: S3Server.Kind.allCases)
        func `a large file goes up in parts and comes back whole`(kind: S3Server.Kind) async throws {
            let server = try S3Server.shared(kind)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                var random = SplitMix64(seed: 3)
                try writeWhole(lab.source.appending("large"), random.bytes(40 << 20))
                try lab.commit()
                let mount = try lab.mount()
                #expect(try firstDifference(lab.source.appending("large"), mount.path("large")) == nil)
                try mount.unmount()
            }
        }

        @Test func `of sixteen racing committers all commits are in the log, in one order`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                // Who loses the branch to another is told so with status 4, and commits again on top of that.
                let commit: ByteString =
                    "until \"$0\" commit data \"$1\" -m \"$2\"; do [ $? = 4 ] || exit 1; done"
                let programs = try (0..<16).map { number in
                    let tree = lab.path(ByteString("tree-\(number)"))
                    try HostFileSystem().makeDirectory(tree, mode: 0o755)
                    try writeWhole(tree.appending("file"), Array("commit \(number)\n".utf8))
                    return try lab.start(["sh", "-c", commit, "kaml", tree, ByteString("number \(number)")])
                }
                for program in programs {
                    let ended = try program.wait(seconds: 60)
                    #expect(ended.status == 0, "\(ended)")
                }
                let log = try lab.kaml("log", "data").text
                for number in 0..<16 {
                    let told = log.split(separator: "\n").filter { $0.hasSuffix("number \(number)") }
                    #expect(told.count == 1, "\(log)")
                }
                #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)
            }
        }

        /// The bucket's name becomes a part of the host's: bucket.localhost, which the client must resolve.
        @Test func `buckets can be named in the host`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                lab.set(["KAML_S3_ENDPOINT": try server["virtualHostEndpoint"]])
                let options: [ByteString] = ["--s3-style", "virtual"]
                #expect(try lab.run(["kaml", "store", "init"] + options).status == 0)
                try lab.makeSmallTree()
                #expect(try lab.run(["kaml", "commit", "data", lab.source] + options).status == 0)
                let exported = try lab.run(["kaml", "export", "data", lab.path("out")] + options)
                #expect(exported.status == 0, "\(exported)")
                #expect(try differences(lab.source, lab.path("out")) == [])
            }
        }

        @Test func `TLS with an unknown authority is refused, and with --ca-file accepted`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                lab.set(["KAML_S3_ENDPOINT": try server["tlsEndpoint"]])
                let refused = try lab.run(["kaml", "store", "init"])
                #expect(refused.status != 0)
                #expect(refused.errors.contains("certificate"), "\(refused)")
                #expect(refused.errors.contains("--ca-file"), "\(refused)")
                let authority: [ByteString] = ["--ca-file", ByteString(try server["caFile"])]
                let accepted = try lab.run(["kaml", "store", "init"] + authority)
                #expect(accepted.status == 0, "\(accepted)")
                try lab.makeSmallTree()
                #expect(try lab.run(["kaml", "commit", "data", lab.source] + authority).status == 0)
                let mount = try lab.mount("data", at: "mount", authority)
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        @Test func `an endpoint that no name server knows is told in a few seconds`() async throws {
            try await inLab { lab in
                lab.set([
                    "KAML_STORE": "s3://bucket/prefix", "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "b",
                    "KAML_S3_ENDPOINT": "http://no-such-host.invalid",
                ])
                var ended: Ended?
                let took = try seconds { ended = try lab.run(["kaml", "ls", "data"]) }
                #expect(took < 20)
                #expect(ended?.status != 0)
                #expect(
                    ended?.errors.contains("no-such-host.invalid") == true, "\(String(describing: ended))")
            }
        }

        @Test func `wrong credentials are told as such, with where they came from`() async throws {
            let server = try S3Server.shared(.rgw)
            try await inLab { lab in
                lab.use(server)
                try lab.kaml("store", "init")
                lab.set(["AWS_SECRET_ACCESS_KEY": "notthesecretkeyatall"])
                let refused = try lab.run(["kaml", "ls", "data"])
                #expect(refused.status != 0)
                #expect(refused.errors.contains("credentials of the environment"), "\(refused)")
                #expect(!refused.errors.contains("notthesecretkeyatall"))
            }
        }
    }
}
