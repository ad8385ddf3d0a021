package import DatasetStore
package import System

/// Packs that are not to be evicted until a time, in somebody's name.
package struct PinLease: Sendable, Hashable {
    /// What the holder calls it: 1 to 128 visible ASCII characters. A second lease of the name takes the first one's place.
    package var name: String
    /// The wall clock's time at which it ends.
    package var end: Timestamp
    package var packs: Set<PackID>

    package init(name: String, end: Timestamp, packs: Set<PackID>) {
        self.name = name
        self.end = end
        self.packs = packs
    }
}

extension PinLease {
    /// All packs that a plan needs something of.
    package init(name: String, end: Timestamp, plan: WarmPlan) {
        self.init(name: name, end: end, packs: Set(plan.shares.map(\.pack.id)))
    }
}

/// The leases of a cache, as they are kept in its directory: text lines `lease NAME END` and below each its
/// `pack ID`s.
struct PinTable: Sendable {
    private static let title = "kaml-cache-pins 1"
    /// Leases, and packs in all of them, that a table may have.
    static let leaseLimit = 10_000
    static let packLimit = 1 << 20
    /// Bytes of a file with that many.
    static let byteLimit = 64 << 20

    private(set) var leases: [String: PinLease] = [:]
    private var counts: [PackID: Int] = [:]

    var isEmpty: Bool { leases.isEmpty }

    func holds(_ pack: PackID) -> Bool { counts[pack] != nil }

    static func isName(_ name: String) -> Bool {
        (1...128).contains(name.utf8.count) && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// False when the table would become too large or the name is none.
    mutating func insert(_ lease: PinLease) -> Bool {
        guard Self.isName(lease.name),
            leases.count < Self.leaseLimit || leases[lease.name] != nil,
            leases.values.reduce(lease.packs.count, { $0 + $1.packs.count }) <= Self.packLimit
        else { return false }
        remove(lease.name)
        leases[lease.name] = lease
        for pack in lease.packs { counts[pack, default: 0] += 1 }
        return true
    }

    @discardableResult
    mutating func remove(_ name: String) -> Bool {
        guard let lease = leases.removeValue(forKey: name) else { return false }
        for pack in lease.packs {
            let count = counts[pack] ?? 1
            counts[pack] = count > 1 ? count - 1 : nil
        }
        return true
    }

    /// Drops leases that have ended; whether there were any.
    mutating func expire(at now: Timestamp) -> Bool {
        let ended = leases.values.filter { $0.end <= now }.map(\.name)
        for name in ended { remove(name) }
        return !ended.isEmpty
    }

    func encoded() -> [UInt8] {
        var text = Self.title + "\n"
        for lease in leases.values.sorted(by: { $0.name < $1.name }) {
            text += "lease \(lease.name) \(lease.end.seconds)\n"
            for pack in lease.packs.sorted() { text += "pack \(pack)\n" }
        }
        // A file that was cut short has no end, and leases of which packs are missing would promise too much.
        return Array((text + "end\n").utf8)
    }

    /// Nil when the bytes are no table that this version wrote.
    init?(_ bytes: [UInt8]) {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard lines.first == Self.title[...], lines.last == "end" else { return nil }
        var lease: PinLease?
        for line in lines.dropFirst().dropLast() {
            let words = line.split(separator: " ")
            if words.count == 3, words[0] == "lease", let end = Int64(words[2]) {
                if let lease, !insert(lease) { return nil }
                lease = PinLease(
                    name: String(words[1]), end: Timestamp(seconds: end, nanoseconds: 0), packs: [])
            } else if words.count == 2, words[0] == "pack", let id = PackID(hex: String(words[1])),
                lease != nil
            {
                lease?.packs.insert(id)
            } else {
                return nil
            }
        }
        if let lease, !insert(lease) { return nil }
    }

    init() {}
}
