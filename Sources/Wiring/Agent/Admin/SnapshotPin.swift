import Chunking
import NodeCache
import System

/// A snapshot that is kept from eviction until a time.
struct SnapshotPin: Sendable {
    var snapshot: ContentHash
    var end: Timestamp
    var packs: Int

    private static let prefix = "snapshot:"

    /// What the cache calls its lease.
    static func leaseName(_ snapshot: ContentHash) -> String { prefix + snapshot.hex }

    /// Nil for a lease that is not a snapshot's.
    init?(_ lease: PinLease) {
        guard lease.name.hasPrefix(Self.prefix),
            let bytes = Hex.decode(String(lease.name.dropFirst(Self.prefix.count))),
            let snapshot = ContentHash(bytes)
        else { return nil }
        self.snapshot = snapshot
        end = lease.end
        packs = lease.packs.count
    }
}

extension NodeAgent {
    /// What is pinned; what ends first comes first.
    var pins: [SnapshotPin] {
        cache.pins.compactMap { SnapshotPin($0) }.sorted {
            ($0.end, $0.snapshot.hex) < ($1.end, $1.snapshot.hex)
        }
    }
}
