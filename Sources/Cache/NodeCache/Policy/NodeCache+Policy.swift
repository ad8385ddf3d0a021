import DatasetStore
import Synchronization
import System

/// What a cache takes up now, and why.
package struct CacheUsage: Sendable, Hashable {
    package struct Share: Sendable, Hashable {
        /// As given to `tenant(named:)`; `-` for what belongs to nobody in particular.
        package var name: String
        package var bytes: UInt64
        /// Whether newcomers are taken in for others; else what is there stays, and newcomers are read through.
        package var turnsOver: Bool
    }

    /// Bytes of blocks.
    package var usedBytes: UInt64 = 0
    /// What fills may bring it to now.
    package var limitBytes: UInt64 = 0
    package var usedInodes: UInt64 = 0
    package var limitInodes: UInt64 = 0
    package var containers: UInt64 = 0
    package var openContainers: UInt64 = 0
    /// Memory of footers that are loaded.
    package var footerBytes: UInt64 = 0
    /// Containers that leases hold, and the bytes of their blocks.
    package var pinnedContainers: UInt64 = 0
    package var pinnedBytes: UInt64 = 0
    package var leases: UInt64 = 0
    /// Bytes of blocks that would be there too if no two datasets of this node shared containers: those of each container
    /// once for every dataset that asked for it beyond the first, in this life of the cache.
    package var sharedBytes: UInt64 = 0
    /// Whether the directory's contents are known: a moment after the start.
    package var isCounted = false
    package var shares: [Share] = []

    package init() {}
}

/// All that an operator wants to know of a cache, taken at one time.
package struct CacheStatus: Sendable {
    package var condition: CacheCondition
    package var limits: CacheLimits
    package var usage: CacheUsage
    /// Running totals, over all lives of the cache.
    package var totals: CacheStatistics
    package var scrub: ScrubProgress
}

extension NodeCache {
    /// Cheap: no call of the disk, so that it answers while the disk hangs. Its time grows with the number of containers,
    /// about a millisecond for ten thousand.
    package func status() -> CacheStatus {
        CacheStatus(
            condition: condition, limits: limits, usage: usage, totals: totals, scrub: scrubber.progress)
    }

    /// What the cache did and holds, like `statistics()`, by the cache's own books.
    package var totals: CacheStatistics {
        var totals = statisticsKeeper.totals()
        totals.allocatedBytes = UInt64(clamping: context.space.used.load(ordering: .relaxed))
        totals.containers = UInt64(keeper.state.withLock { $0.policy.count })
        return totals
    }

    /// A name for what a dataset has in the cache, so that it gets its share.
    package func tenant(named name: String) -> CacheTenant {
        context.tenants.withLock { $0.tenant(named: name) }
    }

    /// Whether the cache's disk can be relied on now.
    package var condition: CacheCondition { context.health.withLock { $0.condition } }

    package var limits: CacheLimits { keeper.state.withLock { $0.limits } }

    /// In force at once for what is filled; what is too much goes within a moment.
    package func setLimits(_ limits: CacheLimits) { keeper.apply(limits) }

    /// Keeps packs from being evicted until a time; a lease of the same name is replaced. What is not here yet is not
    /// fetched by this. The lease outlives the process.
    package func pin(_ lease: PinLease) throws(CacheError) { try keeper.pin(lease) }

    /// Whether there was such a lease.
    @discardableResult
    package func unpin(_ name: String) throws(CacheError) -> Bool { try keeper.unpin(name) }

    package var pins: [PinLease] { keeper.leases }

    /// Bytes a second that are hashed again in the background; 0 for none.
    package func setScrubRate(_ bytesPerSecond: Int) { scrubber.setRate(bytesPerSecond) }

    /// As cheap as `status()`.
    package var usage: CacheUsage { keeper.usage() }
}

extension CacheKeeper {
    func usage() -> CacheUsage {
        var usage = CacheUsage()
        let known = registry.known
        let awake = known.filter(\.hasDisk)
        let shared = known.map { ($0.pack.id, $0.sharers.load(ordering: .relaxed).nonzeroBitCount) }.filter {
            $0.1 > 1
        }
        usage.openContainers = UInt64(awake.count)
        usage.footerBytes = UInt64(awake.reduce(0) { $0 + $1.footerLoader.byteCount })
        usage.usedBytes = UInt64(clamping: context.space.used.load(ordering: .relaxed))
        usage.limitBytes = UInt64(clamping: context.space.limit.load(ordering: .relaxed))
        let names = context.tenants.withLock { $0.names }
        state.withLock { state in
            usage.containers = UInt64(state.policy.count)
            usage.usedInodes = UInt64(inodes(state))
            usage.limitInodes = UInt64(clamping: state.room?.inodes ?? .max)
            usage.isCounted = state.hasScanned
            usage.leases = UInt64(state.pins.leases.count)
            for id in state.policy.ids where state.pins.holds(id) {
                usage.pinnedContainers += 1
                usage.pinnedBytes += UInt64(clamping: state.policy.weight(of: id) ?? 0)
            }
            for (id, sharers) in shared {
                usage.sharedBytes += UInt64(clamping: state.policy.weight(of: id) ?? 0) * UInt64(sharers - 1)
            }
            for (index, name) in names.enumerated() {
                let bytes = state.policy.bytes(of: UInt32(index))
                guard bytes > 0 else { continue }
                usage.shares.append(
                    .init(
                        name: name, bytes: UInt64(bytes),
                        turnsOver: state.policy.rule(of: UInt32(index)) == .turnover))
            }
        }
        return usage
    }
}
