import Chunking
import DatasetStore
package import FuseMount
package import FuseSession
package import NodeCache
import ObjectStore
package import System
package import Telemetry

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
        package var registry = MetricsRegistry.process

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

    struct State {
        var book = MountBook()
        var mounts: [String: SnapshotMount] = [:]
        /// What the holder keeps and nobody serves: the way to unmount it.
        var stranded: [String: any MountControl] = [:]
        /// Whether a session broke since somebody asked.
        var hasBroken = false
        /// Sessions that ended before anybody knew of them.
        var endedEarly: Set<String> = []
        var isLettingGo = false
    }

    let parts: Parts
    let state = Monitor(State())

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
        case .existing(let id):
            let record = try waitUntilServing(id)
            // A store that is away keeps nobody from what is mounted.
            if let now = try? resolve(request).snapshot.hex, now != record.snapshot {
                throw AgentError.moved(
                    record.mountPoint, name: record.name, mounted: record.snapshot, now: now)
            }
            return (record, true)
        case .start(let id):
            do {
                return (try start(request, id), false)
            } catch {
                state.withLock { state in
                    state.endedEarly.remove(id)
                    state.book.didFail(id)
                }
                state.wake()
                parts.events.add(
                    "mountFailed", "\(request.reference) at \(request.mountPoint): \(error)",
                    severity: .error,
                    mount: id)
                throw error
            }
        }
    }

    /// What a request names now. Blocks for as long as its store is waited for.
    private func resolve(
        _ request: MountRequest
    ) throws -> (place: NamedStore, store: Store, name: String, snapshot: ContentHash) {
        let place = try parts.stores.place(request.store)
        let store = try parts.stores.open(place)
        let reference = try SnapshotReference(request.reference)
        return (place, store, "\(reference)", try reference.resolve(in: try store.state()).snapshot)
    }

    private func waitUntilServing(_ id: String) throws -> MountRecord {
        let record: MountRecord?? = state.wait { state in
            guard let record = state.book[id] else { return .some(nil) }
            return record.state == .mounting ? nil : .some(record)
        }
        guard let record = record ?? nil else {
            throw AgentError.notYet("the same mount was being made, and failed")
        }
        if record.state == .stranded { throw AgentError.stranded(record.mountPoint, record.trouble) }
        return record
    }

    private func start(_ request: MountRequest, _ id: String) throws -> MountRecord {
        let found = try resolve(request)
        var description = MountDescription(
            name: found.name, snapshot: found.snapshot, store: found.place.url,
            mountPoint: request.mountPoint,
            allowOther: request.allowOther ?? parts.settings.allowOther)
        description.storeSettings = found.place.settings
        description.readAheadKiB = request.readAheadKiB ?? parts.settings.readAheadKiB
        description.allowNonEmpty = request.allowNonEmpty
        description.labels = MountLabels(id: id, request: request).labels
        let mount = try SnapshotMount(
            mounting: description, as: request.profile, mountParts(found.store.objects, id),
            holding: parts.holding)
        return serve(mount, id, isTakenOver: false)
    }

    func mountParts(_ objects: any ObjectStore, _ id: String) -> SnapshotMount.Parts {
        let events = parts.events
        var mountParts = SnapshotMount.Parts(
            objects: objects, cache: parts.cache, workers: parts.settings.threads
        ) {
            events.add("mountNotice", $0, severity: .warning, mount: id)
        }
        mountParts.ended = { [self] in didEnd(id, $0) }
        return mountParts
    }

    /// From here on it is the kernel that ends it.
    func serve(_ mount: SnapshotMount, _ id: String, isTakenOver: Bool) -> MountRecord {
        let (record, hasEnded) = state.withLock { state in
            state.book.didServe(id, MountFacts(mount, isTakenOver: isTakenOver))
            let record = state.book[id]
            let hasEnded = state.endedEarly.remove(id) != nil
            if hasEnded { state.book.didEnd(id) } else { state.mounts[id] = mount }
            return (record, hasEnded)
        }
        state.wake()
        let description = mount.description
        let text = "\(description.name) at \(description.mountPoint)"
        parts.events.add(isTakenOver ? "takenOver" : "mounted", text, mount: id)
        if hasEnded { parts.events.add("unmounted", text, mount: id) }
        return record
            ?? MountRecord(
                id: id, mountPoint: description.mountPoint, name: description.name,
                store: description.store, since: parts.clock.now())
    }

    private func didEnd(_ id: String, _ end: SessionEnd) {
        let record: MountRecord? = state.withLock { state in
            guard state.mounts.removeValue(forKey: id) != nil else {
                state.endedEarly.insert(id)
                return nil
            }
            let record = state.book.didEnd(id)
            if case .failed = end, !state.isLettingGo { state.hasBroken = true }
            return state.isLettingGo ? nil : record
        }
        state.wake()
        guard let record else { return }
        let text = "\(record.name) at \(record.mountPoint)"
        switch end {
        case .failed(let error):
            parts.events.add("mountBroke", "\(text): \(error)", severity: .error, mount: id)
        case .unmounted, .stopped: parts.events.add("unmounted", text, mount: id)
        }
    }

    /// Whether sessions broke since the last call: what holds their mounts can give them back.
    func takeBrokenMounts() -> Bool {
        state.withLock { state in
            defer { state.hasBroken = false }
            return state.hasBroken
        }
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
        let (answer, control) = state.withLock { state -> (MountBook.UnmountAnswer, (any MountControl)?) in
            let answer =
                switch target {
                case .id(let id): state.book.askUnmount(id: id)
                case .mountPoint(let path): state.book.askUnmount(at: path)
                }
            guard case .detach(let record) = answer else { return (answer, nil) }
            return (answer, state.mounts[record.id]?.control ?? state.stranded[record.id])
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
            try detach(record, control, lazily)
            return record
        }
    }

    private func detach(
        _ record: MountRecord, _ control: (any MountControl)?, _ lazily: Bool
    ) throws(MountError) {
        do throws(MountError) {
            try control?.detach(lazily: lazily)
        } catch {
            // Somebody else was quicker: it is out of the tree, and its end is on its way.
            if error.cause != .notMounted {
                state.withLock { $0.book.didNotDetach(record.id) }
                throw error
            }
        }
        let stranded = state.withLock { state in
            state.book.didDetach(record.id)
            let stranded = state.stranded.removeValue(forKey: record.id)
            if stranded != nil { state.book.didEnd(record.id) }
            return stranded
        }
        // With the last descriptor the kernel's connection ends, and with it the wait of whoever has files open.
        stranded?.ended()
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
