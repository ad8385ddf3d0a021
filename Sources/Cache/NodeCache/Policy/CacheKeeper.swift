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
        /// Whether the directory's leases are known.
        var hasLoadedPins = false
        /// Files beside containers: manifests, hashes.
        var otherBytes = 0
        var otherInodes = 0
        /// Open containers in the order of their use.
        var awake = AgeLine<PackID>()
        var room: CacheLimits.Room?
        /// Bytes of blocks over the limits, by the files alone: fills that are under way may come to nothing.
        var excessBytes = 0
        var hasScanned = false
        var hasNews = false
        /// Containers whose files are of a directory that was replaced, and that were in use then.
        var strays: [Container] = []
    }

    let context: CacheContext
    let registry: ContainerRegistry
    let state: Monitor<State>
    /// Whether somebody changes the leases.
    let pinTurn = Turn()
    /// Whether somebody looks: two at once would count what one of them takes out.
    private let lookTurn = Turn()
    private let isStopped = Atomic(false)
    private let hasThread = Atomic(false)
    private let hasEnded = Parker()
    private let descriptors: Int
    /// The directory whose contents are counted (`CacheContext.homeNumber`).
    private let countedHome = Atomic(0)

    /// Nanoseconds between two looks.
    private static let interval: UInt64 = 250_000_000
    private static let leastInterval: UInt64 = 100_000_000
    private static let saveInterval: UInt64 = 60_000_000_000
    /// For so many nanoseconds the end of a thread is waited for that a hung disk may hold.
    private static let endPatience: UInt64 = 5_000_000_000
    /// Nanoseconds after which the directory is walked again, to find what others changed in it.
    private static let recountInterval: UInt64 = 600_000_000_000
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
            try Thread(name: "kaml-cache-keep") { [self] in
                run()
                hasEnded.unpark()
            }.detach()
            hasThread.store(true, ordering: .relaxed)
        } catch {
            context.notice(once: "threads", "no thread that keeps the cache within its limits: \(error)")
        }
    }

    /// Ends the thread and waits for it, so that it touches no directory that is another cache's already.
    func stop() {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        context.space.keeper.unpark()
        if hasThread.load(ordering: .relaxed) { hasEnded.park(nanoseconds: Self.endPatience) }
    }

    private var isRunning: Bool { !isStopped.load(ordering: .acquiring) }

    private func run() {
        guard isRunning else { return }
        loadPins()
        scan()
        var saved = context.clock.monotonicNanoseconds()
        var counted = saved
        while isRunning {
            rest()
            guard isRunning else { return }
            look()
            let now = context.clock.monotonicNanoseconds()
            if now &- saved > Self.saveInterval {
                saved = now
                save()
            }
            if now &- counted > Self.recountInterval {
                counted = now
                scan()
            }
        }
    }

    /// Sleeps until somebody finds no room, or for a while; never so little that every read would be a look of its own,
    /// and what is read in no order would look like a choice of containers.
    private func rest() {
        let start = context.clock.monotonicNanoseconds()
        context.space.keeper.park(nanoseconds: Self.interval)
        while isRunning {
            let passed = context.clock.monotonicNanoseconds() &- start
            guard passed < Self.leastInterval else { return }
            context.space.keeper.park(nanoseconds: Self.leastInterval - passed)
        }
    }

    /// One look at everything. For the thread, and for tests.
    func look() {
        lookTurn.take {
            context.examineDisk()
            takeUpDirectory()
            harvest()
            measure()
            endLeases()
            evict()
            closeIdle()
        }
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

    /// Starts over with a directory that took the place of another one. What is in use goes on with its old files.
    private func takeUpDirectory() {
        let number = context.homeNumber.load(ordering: .acquiring)
        let strays = state.withLock { state in
            defer { state.strays = [] }
            return state.strays
        }
        let isNew = countedHome.exchange(number, ordering: .relaxed) != number
        let left = (isNew ? registry.known : strays).filter { $0.hasDisk && !registry.sleep($0) }
        state.withLock { state in
            state.strays = left
            guard isNew else { return }
            state.policy = CachePolicy()
            state.awake = AgeLine()
            (state.otherBytes, state.otherInodes, state.hasScanned) = (0, 0, false)
            context.space.used.store(0, ordering: .relaxed)
        }
        guard isNew else { return }
        loadPins()
        scan()
    }

    /// Counts what is in the directory: what earlier lives of the cache left, and later what others changed. Reading goes
    /// on meanwhile.
    func scan() {
        let tenants = PolicyIndex.read(context)
        let now = context.clock.monotonicNanoseconds()
        var seen: Set<PackID> = []
        var others = usage(of: context.layout.manifests) { _, _ in false }
        let indexes = usage(of: context.layout.indexes) { _, _ in false }
        others = (others.bytes + indexes.bytes, others.inodes + indexes.inodes)
        for folder in (try? context.files.list(context.layout.containers)) ?? [] where isRunning {
            var found: [PackID: (bytes: Int, full: Int)] = [:]
            let more = usage(of: context.layout.containers.appending(folder.name)) { name, status in
                guard let id = CacheLayout.packID(of: name) else { return false }
                let known = found[id] ?? (0, 0)
                // The data file has the container's length.
                found[id] = (
                    known.bytes + Int(clamping: status.blocks &* 512),
                    max(known.full, Int(clamping: status.size))
                )
                return true
            }
            others = (others.bytes + more.bytes, others.inodes + more.inodes)
            for (id, size) in found {
                seen.insert(id)
                // What is open is known better.
                let isOpen = registry.find(id)?.hasDisk == true
                let change = state.withLock { state in
                    let before = state.policy.weight(of: id)
                    if before == size.bytes || before != nil && isOpen { return 0 }
                    state.policy.set(
                        id, bytes: size.bytes, full: size.full, of: tenants[id]?.index ?? 0, at: now)
                    return size.bytes - (before ?? 0)
                }
                context.space.used.wrappingAdd(change, ordering: .relaxed)
            }
        }
        guard isRunning else { return }
        let gone = state.withLock { $0.policy.ids }.filter {
            !seen.contains($0) && registry.find($0)?.hasDisk != true
        }
        let change = state.withLock { state in
            var change = others.bytes - state.otherBytes
            for id in gone {
                change -= state.policy.weight(of: id) ?? 0
                state.policy.remove(id)
            }
            (state.otherBytes, state.otherInodes, state.hasScanned) = (others.bytes, others.inodes, true)
            return change
        }
        context.space.used.wrappingAdd(change, ordering: .relaxed)
    }

    /// Blocks and inodes of a folder and the files in it, but for those that `isElse` takes.
    private func usage(
        of folder: ByteString, isElse: (ByteString, FileStatus) -> Bool
    ) -> (bytes: Int, inodes: Int) {
        var sum = (bytes: 0, inodes: 1)
        for entry in (try? context.files.list(folder)) ?? [] {
            guard let status = try? context.files.status(of: folder.appending(entry.name)),
                status.kind == .regular, !isElse(entry.name, status)
            else { continue }
            sum = (sum.bytes + Int(clamping: status.blocks &* 512), sum.inodes + 1)
        }
        return sum
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
            let real = state.policy.bytes + state.otherBytes
            let allowed = state.limits.room(usedBytes: real, usedInodes: inodes, space).bytes
            // What makes a container, and maps, may go over the limit a little.
            state.excessBytes = real > allowed && real - allowed > allowed / 128 ? real - allowed : 0
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
            demand.requiredBytes = state.excessBytes
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
