import Synchronization
import System

/// What a cache takes up now, and why. Cheap: nothing is looked for on the disk.
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
    package var pinnedContainers: UInt64 = 0
    package var leases: UInt64 = 0
    /// Whether the directory's contents are known: a moment after the start.
    package var isCounted = false
    package var shares: [Share] = []

    package init() {}
}

extension NodeCache {
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

    package var usage: CacheUsage { keeper.usage() }
}

extension CacheKeeper {
    func usage() -> CacheUsage {
        var usage = CacheUsage()
        let awake = registry.known.filter(\.hasDisk)
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
            usage.pinnedContainers = UInt64(state.policy.ids.count(where: state.pins.holds))
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
