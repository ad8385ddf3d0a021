import Glibc
import KamlTestSupport
import System
import Testing

extension OnS3 {
    /// Whatever a server, a network or somebody in between does to an answer: right bytes or an error within a bounded
    /// time and memory, and the mount stays.
    @Suite struct Faults {
        /// A fault of the proxy: `times` answers are damaged, and then they are good.
        struct Fault: CustomTestStringConvertible {
            var name: String
            var times = 1
            var argument: JSON = .null
            var seconds = 20.0

            var testDescription: String { times == 1 ? name : "\(name) \(times) times" }
        }

        static let faults: [Fault] = [
            // A server that cannot, or will not for a while.
            Fault(name: "status", argument: 500), Fault(name: "status", times: 4, argument: 503),
            Fault(name: "slowdown", times: 4), Fault(name: "throttled", times: 2, argument: 1),
            // A network that breaks, or nearly stands still.
            Fault(name: "reset"), Fault(name: "reset_in_body"), Fault(name: "truncated"),
            Fault(name: "stall", seconds: 45), Fault(name: "hang", seconds: 45),
            // Bytes that are not the object's.
            Fault(name: "short_clean"), Fault(name: "extra_body"), Fault(name: "bitflip"),
            Fault(name: "zeros"),
            Fault(name: "rotated"), Fault(name: "wrong_etag"), Fault(name: "other_range"),
            // Answers to another question.
            Fault(name: "html200"), Fault(name: "empty200"), Fault(name: "ignore_range"),
            Fault(name: "not_modified"),
            // Heads that break the rules of HTTP.
            Fault(name: "header_flood"), Fault(name: "header_large"),
            Fault(name: "bad_length"),
            Fault(name: "bad_length", argument: "-5"),
            Fault(name: "two_lengths"), Fault(name: "chunked_junk"),
        ]

        /// A store that all of these tests read, behind the proxy.
        private static let stored = Result { () throws -> (proxy: FaultProxy, prefix: String) in
            let server = try S3Server.shared(.rgw)
            return (try FaultProxy(server), server.newPrefix())
        }

        /// Makes the tree of the store, and the store where it is not there yet.
        private static func prepare(_ lab: Lab) throws -> FaultProxy {
            let (proxy, prefix) = try stored.get()
            try proxy.heal()
            try lab.makeSmallTree()
            // Each test makes the tree anew, and it must be the same to the second.
            try lab.shell("find", lab.source, "-exec", "touch", "-h", "-d", "@1000000000", "{}", "+")
            lab.use(proxy.server, prefix: prefix, through: proxy)
            if try lab.run(["kaml", "store", "init"]).status == 0 { try lab.commit() }
            return proxy
        }

        private static let packs = "^GET .*/packs/"

        @Test(arguments: faults)
        func `a damaged answer costs time and no byte`(fault: Fault) async throws {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                let mount = try lab.mount()
                let large = mount.path("large")
                _ = try proxy.takeCounters()
                try proxy.damage(fault.name, Self.packs, count: fault.times, argument: fault.argument)

                var first: Ended?
                let took = try seconds { first = try lab.run(["cat", large], seconds: 100) }
                #expect(took < fault.seconds, "it took \(took) s")
                let wanted = try readWhole(lab.source.appending("large"))
                let got = try #require(first)
                #expect(try proxy.takeCounters()["fault \(fault.name)"] == fault.times)
                #expect(wanted.starts(with: got.output), "what was given is right")
                #expect(got.status == 0, "\(got.errors) \(mount.log)")
                #expect(got.output.count == wanted.count)

                // The next good answer is used, and no answer was needed for what is cached.
                #expect(try differences(lab.source, mount.path) == [])
                try proxy.goDown(.refuse)
                defer { try? proxy.comeUp() }
                try lab.shell("sh", "-c", "echo 1 > /proc/sys/vm/drop_caches")
                #expect(try differences(lab.source, mount.path) == [], "the cache holds right bytes only")
                #expect(try lab.peakMemory(mount.program.process) < 200 << 20)
                try mount.unmount()
            }
        }

        /// Damage that does not end: an error, never other bytes; and right as soon as the damage is over.
        @Test(arguments: [
            "bitflip", "zeros", "rotated", "short_clean", "html200", "empty200", "redirect",
        ])
        func `damage that stays is an error, and the first good answer afterwards is used`(fault: String)
            async throws
        {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                let mount = try lab.mount()
                try proxy.damage(fault, Self.packs)
                var first: Ended?
                let took = try seconds { first = try lab.run(["cat", mount.path("large")], seconds: 100) }
                #expect(took < 60, "it took \(took) s")
                let got = try #require(first)
                #expect(got.status == 1 && got.errors.contains("Input/output error"), "\(got.errors)")
                #expect(try readWhole(lab.source.appending("large")).starts(with: got.output))
                #expect(mount.log.contains("large"), "the log says which file: \(mount.log)")
                // The mount stays, also while nothing good comes.
                #expect(try names(mount.path).contains("large"))
                try proxy.heal()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        /// The address that gives away a machine's credentials, and another server of the same machine.
        @Test func `a redirect is not followed, and takes no credentials along`() async throws {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                let elsewhere = try FaultProxy(proxy.server)
                try proxy.damage("redirect", "", argument: .string("\(elsewhere.endpoint)/kaml-test/stolen"))
                var ended: Ended?
                let took = try seconds { ended = try lab.run(["kaml", "ls", "data"]) }
                #expect(took < 30)
                #expect(ended?.status != 0, "\(String(describing: ended))")
                #expect(try elsewhere.takeCounters()["GET"] == nil, "nobody came there")
                try proxy.damage("redirect", "")
                #expect(try lab.run(["kaml", "ls", "data"]).status != 0)
            }
        }

        /// Answers to listings: the commands that list must end, with an error where the answer is no listing.
        @Test(arguments: [
            "broken_xml", "xml_bomb", "huge_xml", "list_repeat", "html200", "empty200",
        ])
        func `a listing that is none, or has no end, is an error within bounded time and memory`(
            fault: String
        )
            async throws
        {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                try proxy.damage(fault, "^GET .*list-type=2")
                var ended: Ended?
                let took = try seconds {
                    ended = try lab.run(
                        ["bash", "-c", "ulimit -v 8000000; exec \"$0\" \"$@\"", "kaml", "check"], seconds: 100
                    )
                }
                let got = try #require(ended)
                #expect(took < 60, "it took \(took) s")
                #expect(got.status > 0, "\(got)")
                #expect(got.errors.contains("hint:") || got.errors.contains("; "), "\(got)")
                try proxy.heal()
                #expect(try lab.run(["kaml", "check"]).status == 0)
            }
        }

        /// Pages of new keys without end look like a bucket of any size: the memory must not grow with it, and whoever
        /// asked can stop it.
        @Test func `a listing that goes on for ever takes bounded memory and can be stopped`() async throws {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                try proxy.damage("list_endless", "^GET .*list-type=2")
                let check = try lab.start(["kaml", "check"])
                sleep(8)
                if check.poll() == nil {
                    #expect(try lab.peakMemory(check.process) < 300 << 20)
                    check.kill(SIGTERM)
                }
                #expect(try check.wait(seconds: 10).status != 0)
                try proxy.heal()
                #expect(try lab.run(["kaml", "check"]).status == 0)
            }
        }

        /// The server's clock is right by definition: the client must find out, and sign by it.
        @Test(arguments: [1200, -1200, 34_560_000])
        func `a clock that is minutes or a year away is no obstacle`(offset: Int) async throws {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                try proxy.damage("clock", "", argument: .number(Double(offset)))
                #expect(try lab.kaml("ls", "data").text.contains("large"))
                let mount = try lab.mount()
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        /// The keys are in a file, as where something renews them; the old ones stop working in the middle of a mount.
        @Test func `credentials that expire are read anew`() async throws {
            try await inLab { lab in
                let proxy = try Self.prepare(lab)
                let keys = proxy.server.keys
                let file = lab.path("credentials")
                func write(_ id: String?, _ secret: String?) throws {
                    let text =
                        "[default]\naws_access_key_id = \(id ?? "")\naws_secret_access_key = \(secret ?? "")\n"
                    try writeWhole(file, Array(text.utf8), mode: 0o600)
                }
                try write(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
                lab.set([
                    "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
                    "AWS_SHARED_CREDENTIALS_FILE": "\(file)",
                ])
                let mount = try lab.mount()
                try proxy.damage("expired", Self.packs, count: 1)
                #expect(try differences(lab.source, mount.path) == [])
                #expect(try proxy.takeCounters()["fault expired"] == 1)
                try mount.unmount()
            }
        }
    }
}
