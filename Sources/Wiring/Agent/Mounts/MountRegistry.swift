import Chunking
import DatasetStore
package import FuseMount
package import FuseSession
package import NodeCache
import Glibc
import ObjectStore
package import System

/// The mounts of a node, over one cache. All methods block; they may be called from any thread.
package final class MountRegistry: Sendable {
    /// What a registry works with.
    package struct Parts: Sendable {
        package var cache: NodeCache
        package var stores: StoreDirectory
        package var holding: any MountHolding
        package var settings: AgentConfiguration.Mounts
        package var events: EventLog
        package var clock: any Clock = HostClock()
        package var random: any RandomSource = HostRandom()

        package init(
            cache: NodeCache, stores: StoreDirectory, holding: any MountHolding,
            settings: AgentConfiguration.Mounts, events: EventLog
        ) {
            self.cache = cache
            self.stores = stores
            self.holding = holding
            self.settings = settings
            self.events = events
        }
    }

    private struct State {
        var book = MountBook()
        var mounts: [String: SnapshotMount] = [:]
    }

    private let parts: Parts
    private let state = Monitor(State())
    /// A thread that only waits for a mount's end.
    private static let waiterStackBytes = 64 << 10

    package init(_ parts: Parts) { self.parts = parts }

    package var records: [MountRecord] { state.withLock { $0.book.all } }

    package subscript(_ id: String) -> MountRecord? { state.withLock { $0.book[id] } }

    /// What went through this process for a mount; nil while it does not serve.
    package func activity(of id: String) -> SessionStatistics? {
        state.withLock { $0.mounts[id] }?.sessionStatistics()
    }

    // MARK: - Mounting

    /// Returns when the mount answers. Asked again for the same it waits for that one, and says that it was there.
    ///
    /// - Throws: `AgentError`, or what opening the store, the snapshot or the mount throws.
    package func mount(_ request: MountRequest) throws -> (record: MountRecord, existed: Bool) {
        let id = MountLabels.newID(parts.random)
        let answer = state.withLock {
            $0.book.ask(request, limit: parts.settings.maximum, newID: id, now: parts.clock.now())
        }
        switch answer {
        case .closed: throw AgentError.ending
        case .full(let limit): throw AgentError.tooManyMounts(limit)
        case .taken(let record): throw AgentError.taken(record.mountPoint, by: record.name)
        case .existing(let id): return (try waitUntilServing(id), true)
        case .start(let id):
            do {
                return (try start(request, id), false)
            } catch {
                state.withLock { $0.book.didFail(id) }
                state.wake()
                parts.events.add(
                    "mountFailed", "\(request.reference) at \(request.mountPoint): \(error)",
                    severity: .error,
                    mount: id)
                throw error
            }
        }
    }

    private func waitUntilServing(_ id: String) throws -> MountRecord {
        let record: MountRecord?? = state.wait { state in
            guard let record = state.book[id] else { return .some(nil) }
            return record.state == .mounting ? nil : .some(record)
        }
        guard let record = record ?? nil else {
            throw AgentError.notYet("the same mount was being made, and failed")
        }
        return record
    }

    private func start(_ request: MountRequest, _ id: String) throws -> MountRecord {
        let place = try parts.stores.place(request.store)
        let store = try parts.stores.open(place)
        let reference = try SnapshotReference(request.reference)
        let found = try reference.resolve(in: try store.state())
        var description = MountDescription(
            name: "\(reference)", snapshot: found.snapshot, store: place.url, mountPoint: request.mountPoint,
            allowOther: request.allowOther ?? parts.settings.allowOther)
        description.storeSettings = place.settings
        description.readAheadKiB = request.readAheadKiB ?? parts.settings.readAheadKiB
        description.allowNonEmpty = request.allowNonEmpty
        description.labels = MountLabels(id: id, request: request).labels
        let mount = try SnapshotMount(
            mounting: description, as: request.profile, mountParts(store, id), holding: parts.holding)
        return serve(mount, id, isTakenOver: false)
    }

    private func mountParts(_ store: Store, _ id: String) -> SnapshotMount.Parts {
        let events = parts.events
        return SnapshotMount.Parts(
            objects: store.objects, cache: parts.cache, workers: parts.settings.threads
        ) {
            events.add("mountNotice", $0, severity: .warning, mount: id)
        }
    }

    /// From here on it is the kernel that ends it.
    private func serve(_ mount: SnapshotMount, _ id: String, isTakenOver: Bool) -> MountRecord {
        let record = state.withLock { state in
            state.book.didServe(id, MountFacts(mount, isTakenOver: isTakenOver))
            state.mounts[id] = mount
            return state.book[id]
        }
        state.wake()
        do throws(Errno) {
            try Thread(name: "kaml-mount-end", stackBytes: Self.waiterStackBytes) { [self] in
                mount.waitUntilEnded()
                didEnd(id)
            }
            .detach()
        } catch {
            parts.events.add(
                "mountNotice", "the end of this mount will not be seen: \(error)", severity: .warning,
                mount: id)
        }
        if let record {
            parts.events.add(
                isTakenOver ? "takenOver" : "mounted", "\(record.name) at \(record.mountPoint)", mount: id)
        }
        // It cannot be missing: nobody ends it before the thread above runs.
        return record
            ?? MountRecord(
                id: id, mountPoint: mount.description.mountPoint, name: mount.description.name,
                store: mount.description.store, since: parts.clock.now())
    }

    private func didEnd(_ id: String) {
        let record = state.withLock { state in
            state.mounts[id] = nil
            return state.book.didEnd(id)
        }
        state.wake()
        if let record { parts.events.add("unmounted", "\(record.name) at \(record.mountPoint)", mount: id) }
    }

    // MARK: - Unmounting

    package enum Target: Sendable {
        case id(String)
        case mountPoint(ByteString)
    }

    /// Takes a mount out of the tree. When it is busy and `lazily` is false it stays as it is.
    ///
    /// - Throws: `AgentError` or `MountError`.
    package func unmount(_ target: Target, lazily: Bool) throws -> MountRecord {
        let (answer, mount) = state.withLock { state in
            let answer =
                switch target {
                case .id(let id): state.book.askUnmount(id: id)
                case .mountPoint(let path): state.book.askUnmount(at: path)
                }
            if case .detach(let record) = answer { return (answer, state.mounts[record.id]) }
            return (answer, nil)
        }
        switch answer {
        case .unknown:
            switch target {
            case .id(let id): throw AgentError.notMounted("(id \(ByteString(id)))")
            case .mountPoint(let path): throw AgentError.notMounted("\(path)")
            }
        case .stillMounting(let record): throw AgentError.mounting(record.mountPoint)
        case .leaving(let record): return record
        case .detach(let record):
            try detach(record, mount, lazily)
            return record
        }
    }

    private func detach(_ record: MountRecord, _ mount: SnapshotMount?, _ lazily: Bool) throws(MountError) {
        do throws(MountError) {
            try mount?.unmount(lazily: lazily)
        } catch {
            // Somebody else was quicker: it is out of the tree, and its end is on its way.
            if error.cause != .notMounted {
                state.withLock { $0.book.didNotDetach(record.id) }
                throw error
            }
        }
        state.withLock { $0.book.didDetach(record.id) }
    }

    // MARK: - The end

    /// Takes no more mounts, and unmounts those that are there: in order where nobody uses them, and from their users when
    /// `graceSeconds` have passed.
    package func close(graceSeconds: Int) {
        let records = state.withLock { $0.book.close() }
        let deadline = parts.clock.monotonicNanoseconds() + UInt64(graceSeconds) * 1_000_000_000
        var left = records.map(\.id)
        while true {
            left = left.filter { id in
                do { _ = try unmount(.id(id), lazily: false) } catch {}
                return self[id] != nil
            }
            if left.isEmpty || parts.clock.monotonicNanoseconds() >= deadline { break }
            usleep(50_000)
        }
        for id in left {
            let (mount, record) = state.withLock { ($0.mounts[id], $0.book[id]) }
            guard let mount, let record else { continue }
            parts.events.add(
                "takenAway", "\(record.name) at \(record.mountPoint) was still in use", severity: .warning,
                mount: id)
            mount.takeAway()
        }
    }

    /// Stops serving and leaves every mount to the next agent.
    package func letGo(withinMilliseconds limit: Int) {
        let mounts = state.withLock { state in
            _ = state.book.close()
            return state.mounts.values.sorted { $0.description.mountPoint < $1.description.mountPoint }
        }
        for mount in mounts where !mount.letGo(withinMilliseconds: limit) {
            parts.events.add(
                "notAnswered",
                "\(mount.description.name) at \(mount.description.mountPoint) had requests in hand",
                severity: .warning)
        }
    }
}

extension MountFacts {
    fileprivate init(_ mount: SnapshotMount, isTakenOver: Bool) {
        let statistics = mount.statistics
        self.init(
            snapshot: mount.description.snapshot.hex, store: mount.description.store, profile: mount.profile,
            passesThrough: mount.passesThrough, files: statistics.files, bytes: statistics.bytes,
            isTakenOver: isTakenOver)
    }
}
