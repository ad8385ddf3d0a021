package import DatasetStore
import FuseMount
import Glibc
import MountHolder
package import NodeCache
import ObjectStore
import Synchronization
package import System

/// What a node's agent is made of, put together: cache, stores, mounts, events. Nothing here waits on the cooperative
/// pool: callers bring a thread (`BlockingWork`).
package final class NodeAgent: Sendable {
    package let events: EventLog
    package let stores: StoreDirectory
    package let mounts: MountRegistry
    package let cache: NodeCache
    package let work = BlockingWork()
    package let started: Timestamp
    /// Nil when mounts are this process's own.
    package let holderWatch: HolderWatch?
    let holder: HolderClient?
    private let current: Mutex<AgentConfiguration>
    private let ready = Atomic(false)

    /// What the agent runs with now.
    package var configuration: AgentConfiguration { current.withLock { $0 } }

    /// Opens the cache; mounts nothing. Blocks.
    ///
    /// - Throws: `CacheError`.
    package init(_ configuration: AgentConfiguration, events: EventLog) throws {
        self.events = events
        started = HostClock().now()
        current = Mutex(configuration)
        stores = StoreDirectory(configuration.stores, default: configuration.defaultStore)
        cache = try NodeCache(
            directory: configuration.cache.directory, options: CacheOptions(configuration.cache),
            sources: stores
        ) {
            events.add("cacheNotice", $0, severity: .warning)
        }
        let holder = configuration.holderSocket.map { HolderClient(at: $0) }
        self.holder = holder
        let mounts = MountRegistry(
            .init(
                cache: cache, stores: stores, holding: holder ?? OwnMounts(), settings: configuration.mounts,
                events: events))
        self.mounts = mounts
        holderWatch = holder.map { HolderWatch($0, mounts, events: events) }
    }

    /// Whether a mount can be made now.
    package var isReady: Bool { hasStarted && holderWatch?.trouble == nil }

    /// Whether the mounts of an agent before this one are served, as far as that is possible, and new ones are taken.
    package var hasStarted: Bool { ready.load(ordering: .acquiring) }

    /// - Throws: `AgentError.notYet` while it starts.
    package func requireStart() throws(AgentError) {
        if hasStarted { return }
        throw .notYet(holderWatch?.trouble.map { "the agent is starting: \($0)" } ?? "the agent is starting")
    }

    /// Goes on with what an agent before this one served; then takes mounts. Blocks, while the holder cannot be asked,
    /// or until `endStart`.
    package func start() {
        if let holderWatch {
            do throws(Errno) {
                try Thread(name: "kaml-holder") { holderWatch.run() }.detach()
            } catch {
                events.add("holderAway", "no thread to ask the mount holder: \(error)", severity: .error)
                return
            }
            guard holderWatch.waitUntilTakenOver() else { return }
        }
        ready.store(true, ordering: .releasing)
        events.add("ready", "the agent serves")
    }

    package func endStart() { holderWatch?.end() }

    /// Ends the mounts, or leaves them to the next agent where a holder keeps them, and closes the cache. Blocks, for
    /// `graceSeconds` at most where nothing hangs in a disk.
    package func close() {
        ready.store(false, ordering: .releasing)
        let graceSeconds = configuration.graceSeconds
        if let holderWatch {
            holderWatch.end()
            mounts.letGo(graceSeconds: graceSeconds)
            // The users of the mounts wait for the next agent, and that one for the cache's lock.
            closeCache(patienceMilliseconds: 500)
        } else {
            mounts.close(graceSeconds: graceSeconds)
            closeCache(patienceMilliseconds: 3000)
        }
    }

    /// A fetch that hangs in a store must not keep the process: what is lost is only that the next start after a reboot
    /// knows the cache to be whole.
    private func closeCache(patienceMilliseconds: Int) {
        let isClosed = Monitor(false)
        do throws(Errno) {
            try Thread(name: "kaml-closing") { [cache] in
                cache.close()
                isClosed.withLock { $0 = true }
            }
            .detach()
        } catch {
            return cache.close()
        }
        for _ in 0..<patienceMilliseconds {
            if isClosed.withLock({ $0 }) { return }
            usleep(1000)
        }
        events.add(
            "cacheNotClosed",
            "a fetch hangs in a store or a disk; the cache is left as a crash would leave it",
            severity: .warning)
    }

    /// Takes what can change while the agent runs; says what needs a restart.
    package func reload(_ wanted: AgentConfiguration) {
        let changes = configuration.changes(to: wanted)
        let taken = current.withLock { current in
            current = current.reloaded(from: wanted)
            return current.cache
        }
        cache.setLimits(CacheLimits(taken))
        cache.setScrubRate(Int(clamping: taken.scrubBytesPerSecond))
        let what = changes.reloadable.isEmpty ? "nothing changed" : changes.reloadable.joined(separator: ", ")
        events.add("reloaded", "the configuration was read again: \(what)")
        if !changes.restart.isEmpty {
            events.add(
                "reloaded",
                "these take effect when the agent is restarted: \(changes.restart.joined(separator: ", "))",
                severity: .warning)
        }
    }

    // MARK: - Snapshots

    /// A snapshot that a client named.
    package struct NamedSnapshot {
        package var name: String
        package var snapshot: Snapshot
        package var store: Store
    }

    /// Blocks.
    ///
    /// - Throws: `AgentError`, `StoreError`, `SnapshotReferenceError` and what opening a store throws.
    package func open(_ reference: String, in store: String) throws -> NamedSnapshot {
        let store = try stores.open(try stores.place(store))
        let reference = try SnapshotReference(reference)
        let found = try reference.resolve(in: try store.state())
        let snapshot = try Snapshot(found.snapshot, from: cache.manifests(origin: store.manifests))
        return NamedSnapshot(name: "\(reference)", snapshot: snapshot, store: store)
    }
}

extension CacheOptions {
    fileprivate init(_ settings: AgentConfiguration.Cache) {
        self.init()
        fetchThreads = settings.fetchThreads
        maximumInFlightBytes = Int(clamping: settings.fetchMemory)
        limits = CacheLimits(settings)
        scrubBytesPerSecond = Int(clamping: settings.scrubBytesPerSecond)
    }
}

extension CacheLimits {
    /// In the configuration 0 is no limit.
    fileprivate init(_ settings: AgentConfiguration.Cache) {
        self.init()
        bytes = settings.maximumBytes > 0 ? settings.maximumBytes : nil
        inodes = settings.maximumInodes > 0 ? settings.maximumInodes : nil
        freeBytes = settings.minimumFreeBytes
    }
}
