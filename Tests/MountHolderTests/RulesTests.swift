import FuseMount
import FuseTestSupport
import Glibc
import KamlTestSupport
@testable import MountHolder
import System
import Testing

@Suite struct `The holder's rules` {
    @Test func `one agent owns the mounts until its socket is closed`() throws {
        let desk = Desk()
        guard case .welcome(1, 4711) = desk.ask(.hello(version: 1)).reply else {
            Issue.record("no welcome")
            return
        }
        #expect(desk.refusal(.hello(version: 1), from: 2) == .owned(process: 1))
        #expect(desk.refusal(.next(after: 0), from: 2) == .owned(process: 1))
        let id = try desk.mount()
        desk.end(2)
        #expect(desk.refusal(.next(after: 0)) == nil)
        desk.end(1)
        #expect(desk.refusal(.next(after: 0)) == .badRequest("no hello came first"))
        #expect(desk.refusal(.hello(version: 1), from: 3) == nil)
        // It finds what the agent before had.
        guard case .held(let held) = desk.ask(.next(after: 0), from: 3).reply else {
            Issue.record("nothing held")
            return
        }
        #expect(held.id == id && held.description == [1, 2, 3])
    }

    @Test func `a read-only tree is for the owner, who brings the directory`() throws {
        let desk = Desk()
        let directory = { try FileDescriptor.open("/tmp", O_RDONLY | O_DIRECTORY).release() }
        #expect(desk.refusal(.readOnlyTree("/tmp"), [try directory()]) == .badRequest("no hello came first"))
        _ = desk.ask(.hello(version: 1))
        #expect(desk.refusal(.readOnlyTree("/tmp")) == .badRequest("0 descriptors came, not 1"))
        #expect(desk.refusal(.readOnlyTree("tmp"), [try directory()]) != nil)
        let answer = desk.ask(.readOnlyTree("/tmp"), [try directory()])
        if case .done = answer.reply {} else { Issue.record("no tree") }
        #expect(answer.descriptors.count == 1)
    }

    @Test func `only the directory that was brought is copied, and only for reading`() throws {
        let home = try FuseTestSupport.TemporaryDirectory()
        defer { home.remove() }
        let privileges = HostPrivileges(allowed: AllowedDirectories([]))
        let other = try FileDescriptor.open("/tmp", O_RDONLY | O_DIRECTORY)
        #expect(throws: HolderRefusal.self) {
            _ = try privileges.readOnlyTree(of: other, at: home.path).release()
        }
        let own = try FileDescriptor.open(home.path, O_RDONLY | O_DIRECTORY)
        let tree = try privileges.readOnlyTree(of: own, at: home.path)
        #expect(throws: Errno.readOnlyFileSystem) {
            _ = try FileDescriptor.open("new", in: tree.rawValue, O_WRONLY | O_CREAT).release()
        }
    }

    @Test func `another version is refused, and says which`() {
        #expect(Desk().refusal(.hello(version: 2)) == .protocolVersion(2))
    }

    @Test func `mounts are found in order with both descriptors, with what was noted`() throws {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        let first = try desk.mount("/mnt/a")
        let second = try desk.mount("/mnt/b")
        #expect(desk.refusal(.noteHandshake(id: second, someHandshake)) == nil)
        #expect(desk.refusal(.describe(id: second, [9])) == nil)
        let answer = desk.ask(.next(after: first))
        guard case .held(let held) = answer.reply else {
            Issue.record("nothing held")
            return
        }
        #expect(held.id == second && held.mountPoint == "/mnt/b")
        #expect(held.handshake == someHandshake && held.description == [9])
        #expect(answer.descriptors.count == 2)
        if case .done = desk.ask(.next(after: second)).reply {} else { Issue.record("more held") }
        #expect(desk.recording.log == ["keep 1", "keep 2", "update 2", "update 2"])
    }

    @Test func `a mount is forgotten when its agent or the kernel says so`() throws {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        let first = try desk.mount("/mnt/a")
        _ = try desk.mount("/mnt/b")
        #expect(desk.refusal(.forget(id: first)) == nil)
        #expect(desk.refusal(.forget(id: first)) == .unknownMount)
        #expect(desk.dropEnded().isEmpty)
        desk.privileges.ended = Set(desk.ask(.next(after: 0)).descriptors)
        #expect(desk.dropEnded().map(\.mountPoint) == ["/mnt/b"])
        #expect(desk.recording.log.suffix(2) == ["forget 1", "forget 2"])
        // Ids are not used again.
        #expect(try desk.mount("/mnt/c") == 3)
    }

    @Test func `what a dead agent registered and told nobody of is dropped by the next`() throws {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        let id = try desk.mount()
        var backings: [Int32] = []
        for _ in 0..<3 {
            let file = try FileDescriptor.open("/dev/null", O_RDONLY).release()
            guard case .backing(let backing) = desk.ask(.registerBacking(id: id), [file]).reply else {
                continue
            }
            backings.append(backing)
        }
        desk.end(1)
        _ = desk.ask(.hello(version: 1), from: 2)
        #expect(desk.refusal(.keepBackings(id: id, [backings[1]]), from: 2) == nil)
        #expect(Set(desk.privileges.registered.keys) == [backings[1]])
        #expect(desk.refusal(.dropBacking(id: id, backings[1]), from: 2) == nil)
        #expect(desk.privileges.registered.isEmpty)
        #expect(desk.refusal(.dropBacking(id: id, -1), from: 2) == .badRequest("no backing id"))
    }

    @Test func `requests without their descriptors, or with others, are refused and leave none open`() throws
    {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        let id = try desk.mount()
        func null() throws -> Int32 { try FileDescriptor.open("/dev/null", O_RDWR).release() }
        func isBad(_ refusal: HolderRefusal?) -> Bool {
            if case .badRequest = refusal { true } else { false }
        }
        #expect(isBad(desk.refusal(.mount(options("/mnt/b"), description: []))))
        #expect(isBad(desk.refusal(.mount(options("/mnt/b"), description: []), [try null(), try null()])))
        // A file that is no table of open files could shrink under a mapping.
        #expect(isBad(desk.refusal(.mount(options("/mnt/b"), description: []), [try null()])))
        #expect(isBad(desk.refusal(.registerBacking(id: id))))
        #expect(isBad(desk.refusal(.forget(id: id), [try null()])))
        #expect(desk.privileges.attached == ["/mnt/a"])
        let file = try null()
        _ = desk.refusal(.next(after: 0), [file])
        #expect(fcntl(file, F_GETFD) < 0)
    }

    @Test func `messages of any bytes are read or refused, and what is read is written as it was`() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        let held = HeldMount(
            id: 17, mountPoint: "/mnt/a", source: "kaml:x", device: "0:55", description: [5],
            handshake: someHandshake)
        let seeds =
            [
                HolderRequest.hello(version: 1), .mount(options("/mnt/b"), description: [1, 2]),
                .next(after: 3),
                .describe(id: 4, [1]), .registerBacking(id: 5), .keepBackings(id: 6, [1, 2, 3]),
                .readAhead(id: 7, kibibytes: 8), .unmount(id: 9, lazily: true), .adopt(held),
            ].map { $0.encoded() }
            + [HolderReply.held(held), .refused(.limit("x")), .welcome(version: 1, process: 2)].map {
                $0.encoded()
            }
        for _ in 0..<5000 {
            var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
            for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.removeLast(Int(random.next() % UInt64(bytes.count)))
                default: bytes.insert(contentsOf: random.bytes(Int(random.next() % 12)), at: place)
                }
            }
            if let request = try? HolderRequest.decoded(bytes) {
                let again = try? HolderRequest.decoded(request.encoded()).encoded()
                #expect(again == request.encoded(), "seed \(seed)")
            }
            if let reply = try? HolderReply.decoded(bytes) {
                #expect(
                    (try? HolderReply.decoded(reply.encoded()).encoded()) == reply.encoded(), "seed \(seed)")
            }
        }
    }

    @Test func `a restarted holder is given what it does not know, and nothing twice`() throws {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        func given(_ device: ByteString) -> HeldMount {
            HeldMount(
                id: 17, mountPoint: "/mnt/a", source: "kaml:x", device: device, description: [5],
                handshake: someHandshake)
        }
        let null = try FileDescriptor.open("/dev/null", O_RDWR).release()
        guard case .held(let held) = desk.ask(.adopt(given("0:55")), [null, try memory()]).reply else {
            Issue.record("not adopted")
            return
        }
        #expect(held.id == 1 && held.handshake == someHandshake)
        let again = try FileDescriptor.open("/dev/null", O_RDWR).release()
        #expect(
            desk.refusal(.adopt(given("0:55")), [again, try memory()])
                == .badRequest("the mount is held already"))
    }

    @Test func `every refusal arrives as it was meant`() throws {
        let refusals: [HolderRefusal] = [
            .notAllowed, .owned(process: 12), .unknownMount, .badRequest("x"), .protocolVersion(9),
            .limit("mounts"),
            .mount(.missing), .mount(.notDirectory), .mount(.notEmpty),
            .mount(.alreadyMounted(source: "kaml:x")), .mount(.belowMount(source: "kaml:x", at: "/a")),
            .mount(.dead), .mount(.unresponsive), .mount(.busy), .mount(.notMounted), .mount(.deviceMissing),
            .mount(.deviceNotPermitted), .mount(.systemCall(name: "mount", error: .noSpace)),
        ]
        for refusal in refusals {
            guard case .refused(let arrived) = try HolderReply.decoded(HolderReply.refused(refusal).encoded())
            else {
                Issue.record("\(refusal)")
                continue
            }
            #expect(arrived == refusal)
        }
    }
}

@Suite struct `Messages from outside` {
    @Test func `garbage is refused, whatever it is`() {
        let desk = Desk()
        _ = desk.ask(.hello(version: 1))
        var random = SystemRandomNumberGenerator()
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if case .held = desk.ask(bytes).reply { Issue.record("mounted by \(bytes)") }
        }
        #expect(desk.privileges.attached.isEmpty)
    }

    @Test func `a request cut short or with a byte changed is refused or another request, never a crash`() {
        let whole = HolderRequest.mount(options("/mnt/a"), description: [UInt8](repeating: 7, count: 300))
            .encoded()
        let note = HolderRequest.noteHandshake(id: 3, someHandshake).encoded()
        for message in [whole, note] {
            for length in 0..<message.count { _ = try? HolderRequest.decoded(Array(message.prefix(length))) }
            for index in message.indices {
                var changed = message
                changed[index] ^= 0x55
                _ = try? HolderRequest.decoded(changed)
            }
        }
    }

    @Test func `what is too large is refused`() {
        func refusal(_ request: HolderRequest) -> HolderRefusal? {
            do throws(HolderRefusal) {
                _ = try HolderRequest.decoded(request.encoded())
                return nil
            } catch {
                return error
            }
        }
        let long = ByteString("/" + String(repeating: "x", count: HolderLimits.pathBytes))
        #expect(refusal(.mount(options(long), description: [])) != nil)
        #expect(refusal(.mount(options("relative"), description: [])) != nil)
        #expect(refusal(.mount(options(ByteString(Array("/a".utf8) + [0])), description: [])) != nil)
        let most = [UInt8](repeating: 1, count: HolderLimits.descriptionBytes)
        #expect(refusal(.describe(id: 1, most)) == nil)
        #expect(refusal(.describe(id: 1, most + [1])) == .badRequest("description too large"))
        #expect(refusal(.describe(id: 1, most + most)) == .badRequest("too large"))
        #expect(refusal(.readAhead(id: 1, kibibytes: .max)) != nil)
        #expect(refusal(.noteHandshake(id: 1, Handshake(request: [1], reply: [2]))) != nil)
    }
}

@Suite struct `Where a holder mounts` {
    @Test(arguments: [
        ("/mnt/a", true), ("/mnt/a/b", true), ("/mnt", false), ("/mntx/a", false), ("/etc", false),
        ("/", false),
        ("/mnt/../etc", false), ("/mnt/./a", false), ("//mnt//a/", true), ("/var/lib/kubelet/pods/x", true),
    ])
    func `below the directories it was told, and nowhere else`(_ path: String, _ isAllowed: Bool) {
        let allowed = AllowedDirectories(["/mnt/", "/var/lib/kubelet"])
        #expect(allowed.contain(ByteString(path)) == isAllowed)
    }
}

@Suite struct `Looking for ended connections` {
    @Test func `several times after a change, and seldom else`() {
        var looks = Looks()
        var seen: [UInt64] = []
        for now in stride(from: UInt64(1000), to: 100_000, by: 50) {
            if now == 50_000 { looks.changed(at: now) }
            if looks.isDue(at: now) { seen.append(now) }
        }
        #expect(seen == [1000, 31_000, 50_000, 50_100, 51_100, 56_100, 86_100])
        #expect(looks.milliseconds(at: 116_000) == 100 && looks.milliseconds(at: 200_000) == 0)
    }
}
