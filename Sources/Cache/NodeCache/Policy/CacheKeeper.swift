import DatasetStore
import Glibc
import Synchronization
import System

/// The thread that keeps a cache within its limits: it looks at what was used and filled, asks the policy what is to go,
/// and evicts it; closes containers that were not used for a while; looks after the disk; ends leases.
///
/// No reader ever waits for it. What it counts it counts incrementally; the directory is walked once, at the start.
final class CacheKeeper: Sendable {
    struct State {
        var policy = CachePolicy<PackID>()
        var limits: CacheLimits
        var pins = PinTable()
        /// Files beside containers: manifests, hashes.
        var otherBytes = 0
        var otherInodes = 0
        /// Open containers in the order of their use.
        var awake = AgeLine<PackID>()
        var room: CacheLimits.Room?
        var hasScanned = false
        var hasNews = false
    }

    let context: CacheContext
    let registry: ContainerRegistry
    let state: Monitor<State>
    private let isStopped = Atomic(false)
    private let descriptors: Int

    /// Nanoseconds between two looks.
    private static let interval: UInt64 = 250_000_000
    private static let saveInterval: UInt64 = 60_000_000_000
    /// Files of a container: its data and its map.
    private static let files = 2

    init(_ context: CacheContext, _ registry: ContainerRegistry) {
        self.context = context
        self.registry = registry
        descriptors = Self.descriptorLimit()
        state = Monitor(State(limits: context.options.limits))
        apply(context.options.limits)
    }

    func start() {
        do throws(Errno) {
            try Thread(name: "kaml-cache-keep") { [self] in run() }.detach()
        } catch {
            context.notice(once: "threads", "no thread that keeps the cache within its limits: \(error)")
        }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        context.space.keeper.unpark()
    }

    private var isRunning: Bool { !isStopped.load(ordering: .acquiring) }

    private func run() {
        loadPins()
        scan()
        var saved = context.clock.monotonicNanoseconds()
        while isRunning {
            context.space.keeper.park(nanoseconds: Self.interval)
            guard isRunning else { return }
            look()
            let now = context.clock.monotonicNanoseconds()
            if now &- saved > Self.saveInterval {
                saved = now
                save()
            }
        }
    }

    /// One look at everything. For the thread, and for tests.
    func look() {
        context.examineDisk()
        harvest()
        measure()
        endLeases()
        evict()
        closeIdle()
    }

    /// New limits, in force at once for fills and within a moment for what is there.
    func apply(_ limits: CacheLimits) {
        state.withLock { state in
            state.limits = limits
            state.room = nil
        }
        measure()
        context.space.keeper.unpark()
    }

    // MARK: - What there is

    /// Takes in what earlier lives of the cache left. Reading goes on meanwhile.
    private func scan() {
        let tenants = PolicyIndex.read(context)
        let now = context.clock.monotonicNanoseconds()
        for folder in (try? context.files.list(context.layout.containers)) ?? [] where isRunning {
            var found: [PackID: (bytes: Int, full: Int)] = [:]
            var others = (bytes: 0, inodes: 1)
            let path = context.layout.containers.appending(folder.name)
            for entry in (try? context.files.list(path)) ?? [] {
                guard let status = try? context.files.status(of: path.appending(entry.name)),
                    status.kind == .regular
                else { continue }
                let bytes = Int(clamping: status.blocks &* 512)
                if let id = CacheLayout.packID(of: entry.name) {
                    let known = found[id] ?? (0, 0)
                    // The data file has the container's length.
                    found[id] = (known.bytes + bytes, max(known.full, Int(clamping: status.size)))
                } else {
                    others = (others.bytes + bytes, others.inodes + 1)
                }
            }
            let added = state.withLock { state -> Int in
                state.otherBytes += others.bytes
                state.otherInodes += others.inodes
                // What was opened meanwhile is known better.
                let new = found.filter { !state.policy.contains($0.key) }
                for (id, size) in new {
                    state.policy.set(
                        id, bytes: size.bytes, full: size.full, of: tenants[id]?.index ?? 0, at: now)
                }
                return new.values.reduce(others.bytes) { $0 + $1.bytes }
            }
            context.space.used.wrappingAdd(added, ordering: .relaxed)
        }
        var manifests = (bytes: 0, inodes: 0)
        for entry in (try? context.files.list(context.layout.manifests)) ?? [] {
            let status = try? context.files.status(of: context.layout.manifests.appending(entry.name))
            manifests.bytes += Int(clamping: (status?.blocks ?? 0) &* 512)
            manifests.inodes += 1
        }
        context.space.used.wrappingAdd(manifests.bytes, ordering: .relaxed)
        state.withLock { state in
            state.otherBytes += manifests.bytes
            state.otherInodes += manifests.inodes
            state.hasScanned = true
        }
    }

    /// Notes what was used and filled since the last look.
    private func harvest() {
        let now = context.clock.monotonicNanoseconds()
        for container in registry.known {
            let isUsed = container.isUsed.exchange(false, ordering: .relaxed)
            let isRefused = container.isRefused.exchange(false, ordering: .relaxed)
            let charge = container.charged.exchange(0, ordering: .relaxed)
            let tenant = container.tenant.load(ordering: .relaxed)
            let id = container.pack.id
            let isNew = container.hasDisk && state.withLock { !$0.policy.contains(id) }
            let bytes = charge > 0 || isNew ? try? container.disk?.allocatedBytes() : nil
            guard isUsed || charge > 0 || isNew else { continue }
            let change = state.withLock { state -> Int in
                var change = -charge
                if let bytes {
                    change += bytes - (state.policy.weight(of: id) ?? 0)
                    let full = Int(clamping: container.pack.containerSize)
                    state.policy.set(id, bytes: bytes, full: full, of: tenant, at: now)
                    state.hasNews = true
                }
                if isUsed { state.policy.use(id, of: tenant, wasRefused: isRefused, at: now) }
                if isUsed || isNew { state.awake.use(id, at: now) }
                return change
            }
            context.space.used.wrappingAdd(change, ordering: .relaxed)
        }
    }

    /// Sets what fills may take from what the disk has left.
    private func measure() {
        let space = context.hasDisk ? try? context.files.space(at: context.layout.directory) : nil
        state.withLock { state in
            let inodes = inodes(state)
            let room = state.limits.room(
                usedBytes: max(0, context.space.used.load(ordering: .relaxed)), usedInodes: inodes, space)
            state.room = room
            // Without inodes a container that is there may grow, and none is made.
            context.space.limit.store(room.bytes, ordering: .relaxed)
            context.space.takesContainers.store(inodes + Self.files <= room.inodes, ordering: .relaxed)
        }
    }

    func inodes(_ state: borrowing State) -> Int { state.policy.count * Self.files + state.otherInodes }

    // MARK: - What goes

    private func evict() {
        let hungry = context.space.takeHungry()
        let used = max(0, context.space.used.load(ordering: .relaxed))
        let now = context.clock.monotonicNanoseconds()
        let (victims, held) = state.withLock { state -> ([CachePolicy<PackID>.Victim], Set<UInt32>) in
            guard let room = state.room, state.hasScanned else { return ([], []) }
            var demand = CachePolicy<PackID>.Demand()
            demand.hungry = hungry
            let inodes = inodes(state)
            // A fill that is under way may go over the limit for a moment.
            if used > room.bytes, used - room.bytes > room.bytes / 128 {
                demand.requiredBytes = used - room.bytes
            }
            if inodes > room.inodes {
                demand.requiredEntries = (inodes - room.inodes + Self.files - 1) / Self.files
            }
            if !hungry.isEmpty {
                demand.wantedBytes = max(0, Self.spare(of: room.bytes) - max(0, room.bytes - used))
                if inodes + Self.files > room.inodes { demand.wantedBytes = max(1, demand.wantedBytes) }
            }
            let victims = state.policy.victims(demand, at: now) { id in
                !state.pins.holds(id) && registry.find(id)?.isIdle != false
            }
            return (victims, state.policy.held(demand, at: now))
        }
        context.space.held.store(SpaceLedger.bits(held), ordering: .relaxed)
        for victim in victims { remove(victim, now) }
    }

    /// What is made free when newcomers find no room: a fiftieth, but enough for some fills at a time.
    private static func spare(of room: Int) -> Int { min(max(room / 50, 4 << 20), room / 8, 1 << 30) }

    private func remove(_ victim: CachePolicy<PackID>.Victim, _ now: UInt64) {
        do throws(CacheError) {
            _ = try registry.evict(victim.id)
        } catch {
            // Somebody came between, or the disk does not let go of it: it counts on.
            if error.code != .inUse { context.notice(once: "evict", "\(error)") }
            let full = registry.find(victim.id).map { Int(clamping: $0.pack.containerSize) }
            return state.withLock {
                $0.policy.set(victim.id, bytes: victim.bytes, full: full, of: victim.tenant, at: now)
            }
        }
        forget(victim.id, bytes: victim.bytes)
        context.counters.evictedContainers.count()
        context.counters.evictedBytes.count(victim.bytes)
    }

    /// Somebody evicted a container by hand.
    func didEvict(_ id: PackID) {
        let bytes = state.withLock { state -> Int in
            defer { state.policy.remove(id) }
            return state.policy.weight(of: id) ?? 0
        }
        forget(id, bytes: bytes)
    }

    private func forget(_ id: PackID, bytes: Int) {
        context.space.used.wrappingSubtract(bytes, ordering: .relaxed)
        state.withLock { state in
            state.awake.remove(id)
            state.hasNews = true
        }
    }

    /// Closes the files of containers beyond the limit that were not used for the longest time, and gives back footers.
    private func closeIdle() {
        let awake = registry.known.filter(\.hasDisk)
        let limit = state.withLock { $0.limits.openLimit(descriptors: descriptors) }
        if awake.count > limit { sleep(awake.count - limit * 7 / 8) }
        if context.space.isExhausted.exchange(false, ordering: .relaxed) { sleep(max(4, awake.count / 4)) }
        let footerLimit = state.withLock { $0.limits.footerBytes }
        var footerBytes = awake.reduce(0) { $0 + $1.footerLoader.byteCount }
        for container in awake where footerBytes > footerLimit {
            footerBytes -= container.footerLoader.byteCount
            container.dropFooter()
            footerBytes += container.footerLoader.byteCount
        }
    }

    /// Closes so many containers, if as many are idle.
    func sleep(_ count: Int) {
        let order = state.withLock { $0.awake.inOrder }
        var left = count
        let known = Set(order)
        // Those that the keeper has not seen yet come last.
        let others = registry.known.filter { !known.contains($0.pack.id) }
        for container in order.lazy.compactMap({ self.registry.find($0) }) + others where left > 0 {
            guard container.hasDisk, container.isIdle, registry.sleep(container) else { continue }
            state.withLock { $0.awake.remove(container.pack.id) }
            left -= 1
        }
    }

    private static func descriptorLimit() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    // MARK: - Across lives

    /// Keeps whose containers are whose, for the next life of the cache.
    func save() {
        let owners = state.withLock { state -> [(PackID, UInt32)]? in
            guard state.hasNews, state.hasScanned else { return nil }
            state.hasNews = false
            return state.policy.ids.map { ($0, state.policy.owner(of: $0) ?? 0) }
        }
        if let owners, context.hasDisk, context.holdsLock { PolicyIndex.write(owners, context) }
    }
}
