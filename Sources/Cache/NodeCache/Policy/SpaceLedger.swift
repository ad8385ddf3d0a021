import Synchronization
import System

/// What the cache's files take up, and how much of it is allowed: counters that a fill touches, and nothing else.
///
/// Bytes are added when a fill begins, and put right from the files' real blocks when the keeper looks next.
final class SpaceLedger: Sendable {
    /// Bytes of blocks, those of fills under way included.
    let used = Atomic<Int>(0)
    let limit = Atomic<Int>(.max)
    /// Whether there are inodes for a container more.
    let takesContainers = Atomic(true)
    /// Fills that found no room since the keeper last looked, and a bit for each dataset that they were for.
    private let refusals = Atomic<Int>(0)
    private let hungry = Atomic<UInt64>(0)
    /// A bit for each dataset that may not grow now.
    let held = Atomic<UInt64>(0)
    /// Whether descriptors or mappings ran out since the keeper last looked.
    let isExhausted = Atomic(false)
    /// Where the keeper sleeps.
    let keeper = Parker()
    /// With less room than this nothing is fetched that nobody asked for.
    private static let spare = 1 << 20
    private static let block = 4096

    /// Whether there is no room to speak of.
    var isFull: Bool {
        let limit = limit.load(ordering: .relaxed)
        return limit != .max && limit &- max(0, used.load(ordering: .relaxed)) < min(Self.spare, limit / 16)
    }

    /// Enters a fill; false when it would go over the limit. Who was admitted calls `settle` when the write is over.
    func admits(_ bytes: Int, _ container: Container) -> Bool {
        let blocks = Self.blocks(bytes)
        let tenant = UInt64(1) << UInt64(container.tenant.load(ordering: .relaxed) & 63)
        if held.load(ordering: .relaxed) & tenant == 0 {
            let before = used.wrappingAdd(blocks, ordering: .relaxed).oldValue
            if before &+ blocks <= limit.load(ordering: .relaxed) {
                return true
            }
            used.wrappingSubtract(blocks, ordering: .relaxed)
        }
        container.isRefused.store(true, ordering: .relaxed)
        hungry.bitwiseOr(tenant, ordering: .relaxed)
        if refusals.wrappingAdd(1, ordering: .relaxed).oldValue == 0 { keeper.unpark() }
        return false
    }

    /// The write of a fill is over: from now on the file's own blocks stand for it. Not earlier, or the keeper would take
    /// the file for what it is without the write, and there would be room for it twice.
    func settle(_ bytes: Int, _ container: Container) {
        container.charged.wrappingAdd(Self.blocks(bytes), ordering: .relaxed)
    }

    private static func blocks(_ bytes: Int) -> Int { (bytes + block - 1) & ~(block - 1) }

    /// Whether a container may be made; tells the keeper when not.
    func admitsContainer(of tenant: UInt32) -> Bool {
        if takesContainers.load(ordering: .relaxed) { return true }
        hungry.bitwiseOr(1 << UInt64(tenant & 63), ordering: .relaxed)
        keeper.unpark()
        return false
    }

    /// The datasets whose fills found no room since the last call.
    func takeHungry() -> Set<UInt32> {
        refusals.store(0, ordering: .relaxed)
        let bits = hungry.exchange(0, ordering: .relaxed)
        return Set((0..<UInt32(64)).filter { bits & (1 << UInt64($0)) != 0 })
    }

    static func bits(_ tenants: Set<UInt32>) -> UInt64 { tenants.reduce(0) { $0 | 1 << UInt64($1 & 63) } }
}
