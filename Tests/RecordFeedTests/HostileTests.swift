import CKamlFeed
import Glibc
import KamlProtos
import KamlTestSupport
import System
import Testing

@testable import RecordFeed

/// Pods that lie, scribble, vanish and flood: the agent is unharmed, and so are other pods.
@Suite(.serialized) struct HostileTests {
    /// A pod that is fed throughout, to see that nothing happens to it.
    private func check(_ pod: FeedPod) throws {
        try pod.call {
            $0.seek.position = 0; $0.seek.generation = pod.nextGeneration()
        }
        while true {
            let descriptor = try pod.take()
            pod.release(descriptor)
            if descriptor.generation == pod.generation { break }
        }
    }

    private func ends(_ pod: FeedPod) -> Bool {
        for _ in 0..<2000 {
            do { _ = try pod.receive() } catch let error {
                return error is FeedPod.Ended || error as? Errno == .connectionReset
            }
        }
        return false
    }

    private func open(_ pod: FeedPod) throws {
        try pod.open { open in
            open.format = .files
            open.epochs = 0
            open.windowBatches = 4
        }
    }

    @Test("a submission ring full of random words ends its session and no other")
    func scribble() throws {
        let lab = try FeedLab(FeedLab.tree(50, upTo: 1000))
        let witness = try lab.connect()
        try open(witness)
        var random = SplitMix64(seed: 99)
        for _ in 0..<60 {
            let pod = try lab.connect()
            try open(pod)
            _ = try pod.take()
            let words = pod.submissions!.bytes.count / 8
            for _ in 0..<50 {
                let word = Int(random.next() % UInt64(words))
                SharedWords.store64(pod.writable!, word * 8, random.next())
                // The words that the agent acts on, more often than chance would.
                SharedWords.store64(
                    pod.writable!, [64, 128][Int(random.next() % 2)], random.next() >> (random.next() % 64))
                pod.wakeAgent()
            }
            SharedWords.store64(pod.writable!, 64, UInt64.max)
            pod.wakeAgent()
            #expect(ends(pod))
        }
        try check(witness)
    }

    @Test(
        "what a pod cannot mean ends its session with the reason",
        arguments: ["kind", "sequence", "twice", "tail", "taken"])
    func misuse(what: String) throws {
        let lab = try FeedLab(FeedLab.tree(50, upTo: 1000))
        let pod = try lab.connect()
        try open(pod)
        let first = try pod.take()
        switch what {
        case "kind": pod.submit(kind: 77, first.sequence)
        case "sequence": pod.submit(kind: 1, 1 << 50)
        case "twice":
            pod.release(first)
            pod.release(first)
        case "tail":
            SharedWords.store64(pod.writable!, 64, 1 << 40)
            pod.wakeAgent()
        default:
            SharedWords.store64(pod.writable!, 128, 1 << 40)
            pod.release(first)
        }
        var reason: String?
        while true {
            guard let reply = try? pod.receive() else { break }
            if case .failure(let failure)? = reply.result { reason = failure.message }
        }
        #expect(reason != nil)
        #expect(lab.notices.withLock { $0.contains { $0.contains("ended") } })
    }

    @Test("descriptors from a pod are closed, and the session ends")
    func descriptors() throws {
        let lab = try FeedLab(FeedLab.tree(5, upTo: 1000))
        let pod = try lab.connect()
        let pipe = try Event()
        try pod.socket.send([1, 2, 3], descriptors: [pipe.rawValue])
        #expect(ends(pod))
        #expect(try lab.connect().call { $0.stat.dataset = "data" }.attributes.kind == .directory)
    }

    @Test("garbage on the socket ends the session; an unknown request does not")
    func garbage() throws {
        let lab = try FeedLab(FeedLab.tree(5, upTo: 1000))
        var random = SplitMix64(seed: 4)
        for _ in 0..<200 {
            let pod = try FeedPod(lab.socket, greets: random.next() % 2 == 0)
            try pod.socket.send([0xFF] + random.bytes(Int(random.next() % 3000)))
            #expect(ends(pod))
        }
        let pod = try lab.connect()
        #expect(throws: FeedPod.Refused.self) { try pod.call { _ in } }
        #expect(try pod.call { $0.stat.dataset = "data" }.attributes.kind == .directory)
    }

    @Test("a thousand sessions come and go, in every state, and leave nothing")
    func churn() throws {
        let lab = try FeedLab(FeedLab.tree(20, upTo: 40_000))
        let warm = try lab.connect()
        try open(warm)
        _ = try warm.take()
        let before = Self.descriptors()
        var random = SplitMix64(seed: 8)
        for round in 0..<1000 {
            let pod = try FeedPod(lab.socket, greets: round % 7 != 0)
            if round % 7 == 0 { continue }
            if round % 5 == 0 {
                // Gone before the answer.
                try pod.send { request in
                    request.openStream.dataset = "data"
                    request.openStream.batchSize = 4
                    request.openStream.format = .files
                }
                continue
            }
            if round % 10 == 1 {
                try open(pod)
                for _ in 0..<(random.next() % 4) { _ = try pod.take() }
            }
        }
        for _ in 0..<500 where Self.descriptors() > before || lab.server.level.sessions > 1 { usleep(10_000) }
        #expect(lab.server.level.sessions == 1)
        #expect(lab.server.level.streams == 1)
        #expect(Self.descriptors() <= before)
        #expect(lab.server.slabBytes == 16 << 20)
        try check(warm)
    }

    /// How many this process has open.
    private static func descriptors() -> Int { (try? HostFileSystem().list("/proc/self/fd").count) ?? 0 }

    @Test("sessions beyond the quota are told why, and others are served")
    func quota() throws {
        var options = FeedOptions()
        options.sessions.sessionsOfUser = 3
        let lab = try FeedLab(FeedLab.tree(5, upTo: 1000), options: options)
        var pods = try (0..<3).map { _ in try lab.connect() }
        #expect(throws: FeedPod.Refused.self) { try lab.connect() }
        pods.removeLast()
        var isIn = false
        for _ in 0..<100 where !isIn {
            isIn = (try? lab.connect()) != nil
            usleep(5000)
        }
        #expect(isIn)
    }

    @Test("what is lent cannot be opened again for writing")
    func lentFiles() throws {
        let lab = try FeedLab(FeedLab.tree(20, upTo: 60_000))
        let pod = try lab.connect()
        try pod.open { open in
            open.format = .files
            open.plane = .mapped
        }
        try pod.drain()
        let lent = pod.segments.values.filter(\.isCache)
        #expect(!lent.isEmpty)
        for mapping in lent {
            let file = mapping.file.rawValue
            #expect(pwrite(file, "x", 1, 0) < 0)
            #expect(mmap(nil, 4096, PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED)
            let again = Glibc.open("/proc/self/fd/\(file)", O_RDWR)
            #expect(again < 0 && errno == EROFS)
        }
    }

    @Test("a pod that does not read its notices waits for itself alone")
    func deaf() throws {
        let lab = try FeedLab(FeedLab.tree(40, upTo: 1000))
        let deaf = try lab.connect()
        // Answers pile up until its queue is full: then it is sent away.
        for _ in 0..<2000 {
            do { try deaf.send { $0.list.dataset = "data" } } catch { break }
        }
        let other = try lab.connect()
        try open(other)
        for _ in 0..<20 { other.release(try other.take()) }
    }
}

extension FeedPod {
    /// Counts this test's seeks.
    func nextGeneration() -> UInt32 {
        generation += 1
        return UInt32(generation)
    }
}
