import DatasetStore
import KamlTestSupport
import System
import Testing

@testable import NodeCache

/// `#expect` of a call that changes a value.
private func holds(_ outcome: Bool, _ location: SourceLocation = #_sourceLocation) {
    #expect(outcome, sourceLocation: location)
}

/// What goes from a cache that several datasets share.
@Suite final class CachePolicyTests {
    typealias Policy = CachePolicy<Int>
    var policy = Policy()
    let everything: (Int) -> Bool = { _ in true }

    /// Entries of a dataset, each used once.
    private func fill(_ ids: Range<Int>, of tenant: UInt32, bytes: Int = 10, at now: UInt64 = 1) {
        for id in ids {
            policy.use(id, of: tenant, at: now)
            policy.set(id, bytes: bytes, of: tenant, at: now)
        }
    }

    private func make(room bytes: Int, for tenant: UInt32, at now: UInt64 = 2) -> [Policy.Victim] {
        policy.victims(Policy.Demand(wantedBytes: bytes, hungry: [tenant]), at: now, mayGo: everything)
    }

    @Test("a dataset in its first epochs gives nothing for its own newcomers")
    func epoch() {
        fill(0..<100, of: 1)
        for epoch in 0..<3 {
            for id in 0..<200 {
                policy.use(id, of: 1, at: UInt64(epoch))
                if id % 10 == 0 { #expect(make(room: 20, for: 1).isEmpty) }
            }
        }
        #expect(policy.bytes == 1000)
    }

    @Test("over the limit the largest dataset gives, and as much as is asked")
    func required() {
        fill(0..<100, of: 1)
        fill(1000..<1020, of: 2)
        let victims = policy.victims(Policy.Demand(requiredBytes: 305), at: 2, mayGo: everything)
        #expect(victims.count == 31)
        #expect(victims.allSatisfy { $0.tenant == 1 && $0.bytes == 10 })
        #expect(policy.bytes == 890)
    }

    @Test("entries are given until the number of them is right, whatever they weigh")
    func inodes() {
        fill(0..<10, of: 1)
        holds(policy.victims(Policy.Demand(requiredEntries: 4), at: 2, mayGo: everything).count == 4)
    }

    @Test("what may not go stays, and the demand ends all the same")
    func kept() {
        fill(0..<20, of: 1)
        let victims = policy.victims(Policy.Demand(requiredBytes: 1000), at: 2) { $0 % 2 == 1 }
        #expect(Set(victims.map(\.id)) == Set((0..<20).filter { $0 % 2 == 1 }))
        #expect(policy.count == 10)
        holds(policy.victims(Policy.Demand(requiredBytes: 1000), at: 2) { _ in false }.isEmpty)
        #expect(policy.count == 10)
    }

    @Test("a scan of another dataset takes a tenth, no more")
    func scan() {
        fill(0..<100, of: 1)
        var next = 1000
        for _ in 0..<200 {
            policy.use(next, of: 2, at: 2)
            if !make(room: 10, for: 2).isEmpty { policy.set(next, bytes: 10, of: 2, at: 2) }
            next += 1
        }
        #expect(policy.bytes(of: 2) <= 110)
        #expect(policy.bytes(of: 1) >= 890)
    }

    @Test("a dataset that is read again and again gets an even share, and no more than that")
    func shares() {
        fill(0..<100, of: 1)
        for _ in 0..<6 {
            for id in 1000..<1200 {
                policy.use(id, of: 2, at: 2)
                if !policy.contains(id), !make(room: 10, for: 2).isEmpty {
                    policy.set(id, bytes: 10, of: 2, at: 2)
                }
            }
            for id in 0..<200 { policy.use(id, of: 1, at: 2) }
        }
        #expect((450...510).contains(policy.bytes(of: 2)))
        #expect((490...550).contains(policy.bytes(of: 1)))
    }

    @Test(
        "the larger one is held while the smaller one has been hungry of late, and comes back for what it knows"
    )
    func held() {
        fill(0..<100, of: 1)
        fill(1000..<1020, of: 2)
        let demand = Policy.Demand(wantedBytes: 20, hungry: [1, 2])
        // Reads of what was never seen are a scan.
        #expect(policy.held(demand, at: 2).contains(2))
        for _ in 0..<2 { for id in 2000..<2040 { policy.use(id, of: 2, at: 2) } }
        #expect(policy.held(demand, at: 2) == [1])
        _ = policy.victims(demand, at: 2) { _ in false }
        #expect(policy.held(Policy.Demand(), at: 1_000_000_000) == [1])
        #expect(policy.held(Policy.Demand(), at: 3_000_000_000) == [])
    }

    @Test("a dataset that nobody read for a while gives first, and all it has")
    func left() {
        fill(0..<50, of: 1, at: 1)
        fill(1000..<1100, of: 2, at: 700_000_000_000)
        let now: UInt64 = 700_000_000_001
        let victims = make(room: 200, for: 2, at: now)
        #expect(victims.count == 20 && victims.allSatisfy { $0.tenant == 1 })
        #expect(make(room: 10_000, for: 2, at: now).count == 30)
        #expect(policy.bytes(of: 1) == 0)
    }

    @Test("what an earlier life left belongs to the dataset that reads it once nobody else does")
    func adopted() {
        fill(0..<10, of: 0, at: 1)
        policy.use(3, of: 5, at: 2)
        #expect(policy.owner(of: 3) == 0)
        policy.use(3, of: 5, at: 900_000_000_000)
        #expect(policy.owner(of: 3) == 5 && policy.weight(of: 3) == 10)
    }
}

/// Leases, in memory and as they are kept.
@Suite struct PinTableTests {
    private func lease(_ name: String, end: Int64, _ packs: [PackID]) -> PinLease {
        PinLease(name: name, end: Timestamp(seconds: end, nanoseconds: 0), packs: Set(packs))
    }
    private let packs = (0..<5).map { _ in PackID(random: HostRandom()) }

    @Test("a pack is held as long as one of its leases lasts")
    func overlap() {
        var table = PinTable()
        holds(table.insert(lease("a", end: 10, [packs[0], packs[1]])))
        holds(table.insert(lease("b", end: 20, [packs[1]])))
        #expect(table.holds(packs[0]) && table.holds(packs[1]) && !table.holds(packs[2]))
        holds(!table.expire(at: Timestamp(seconds: 9, nanoseconds: 0)))
        holds(table.expire(at: Timestamp(seconds: 10, nanoseconds: 0)))
        #expect(!table.holds(packs[0]) && table.holds(packs[1]))
        holds(table.insert(lease("b", end: 30, [packs[4]])))
        #expect(!table.holds(packs[1]) && table.holds(packs[4]))
        holds(table.remove("b") && !table.remove("b") && table.isEmpty && !table.holds(packs[4]))
    }

    @Test("it comes back from its file as it was, and not at all from a part of one")
    func file() {
        var table = PinTable()
        holds(table.insert(lease("train/job-7", end: 1_900_000_000, packs)))
        holds(table.insert(lease("empty", end: 5, [])))
        let bytes = table.encoded()
        #expect(PinTable(bytes)?.leases == table.leases)
        for count in 0..<(bytes.count - 1) { #expect(PinTable(Array(bytes.prefix(count))) == nil) }
        #expect(PinTable(Array("kaml-cache-pins 1\npack 00\nend\n".utf8)) == nil)
    }

    @Test(
        "names that would break the file are refused",
        arguments: ["", "a b", "a\nb", "\u{e9}", String(repeating: "x", count: 129)])
    func names(_ name: String) {
        var table = PinTable()
        holds(!table.insert(lease(name, end: 5, packs)))
        #expect(table.isEmpty)
    }
}

/// Limits, given what a disk has left.
@Suite struct CacheLimitsTests {
    private let gibibyte: UInt64 = 1 << 30

    @Test("without limits of its own the cache leaves a twentieth of the disk free, at most 4 GiB")
    func standard() {
        let small = FileSystemSpace(totalBytes: 20 * gibibyte, availableBytes: 10 * gibibyte)
        #expect(CacheLimits().room(usedBytes: 0, usedInodes: 0, small).bytes == 9 << 30)
        let large = FileSystemSpace(totalBytes: 2000 * gibibyte, availableBytes: 10 * gibibyte)
        #expect(CacheLimits().room(usedBytes: 5 << 30, usedInodes: 0, large).bytes == 11 << 30)
        #expect(CacheLimits().room(usedBytes: 5, usedInodes: 0, nil).bytes == .max)
    }

    @Test("when others fill the disk the cache has to shrink, to nothing at the worst")
    func shrinking() {
        var limits = CacheLimits()
        limits.freeBytes = 2 * gibibyte
        let space = FileSystemSpace(totalBytes: 100 * gibibyte, availableBytes: gibibyte)
        #expect(limits.room(usedBytes: 3 << 30, usedInodes: 0, space).bytes == 2 << 30)
        #expect(limits.room(usedBytes: 1 << 29, usedInodes: 0, space).bytes == 0)
    }

    @Test("inodes count too, but not on file systems that have no number of them")
    func inodes() {
        var limits = CacheLimits()
        limits.freeInodes = 100
        let counting = FileSystemSpace(
            totalBytes: gibibyte, availableBytes: gibibyte, totalInodes: 1000, availableInodes: 150)
        #expect(limits.room(usedBytes: 0, usedInodes: 20, counting).inodes == 70)
        let free = FileSystemSpace(totalBytes: gibibyte, availableBytes: gibibyte)
        #expect(limits.room(usedBytes: 0, usedInodes: 20, free).inodes == .max)
        limits.inodes = 30
        #expect(limits.room(usedBytes: 0, usedInodes: 20, free).inodes == 30)
    }

    @Test("numbers out of any range bring no trap")
    func extremes() {
        var limits = CacheLimits()
        limits.bytes = .max
        limits.freeBytes = .max
        let space = FileSystemSpace(
            totalBytes: .max, availableBytes: .max, totalInodes: .max, availableInodes: .max)
        #expect(limits.room(usedBytes: .max, usedInodes: .max, space).bytes >= 0)
    }
}

/// When a disk counts as usable again.
@Suite struct DiskHealthTests {
    @Test("trouble is news once, until the disk took something")
    func news() {
        var health = DiskHealth()
        holds(health.note(.refused(.noSpace), at: 0))
        holds(!health.note(.refused(.inputOutput), at: 1))
        #expect(health.condition == .degraded(.refused(.inputOutput)))
        holds(health.recovered() && !health.recovered())
        holds(health.note(.slow, at: 2))
    }

    @Test("a disk is tried after five seconds, then less and less often")
    func probes() {
        var health = DiskHealth()
        holds(!health.isProbeDue(at: 1 << 60))
        _ = health.note(.slow, at: 0)
        var probes: [UInt64] = []
        for second in 0..<300 where health.isProbeDue(at: UInt64(second) * 1_000_000_000) {
            probes.append(UInt64(second))
        }
        #expect(probes == [5, 15, 35, 75, 135, 195, 255])
    }

    @Test("a disk that is gone is not called slow")
    func gone() {
        var health = DiskHealth()
        _ = health.note(.displaced, at: 0)
        holds(!health.note(.refused(.noEntry), at: 1))
        #expect(health.condition == .degraded(.displaced))
    }
}
