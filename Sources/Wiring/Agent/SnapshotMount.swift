import Chunking
import DatasetFS
package import DatasetStore
package import FuseMount
package import FuseSession
package import NodeCache
package import ObjectStore
import System

/// How the mount profile is chosen.
package enum ProfileChoice: String, Sendable, CaseIterable { case auto, large, small }

/// One mounted snapshot, from store to mount point: file system and FUSE session put together over the node's cache.
///
/// Blocks its caller's thread; `unmount` may be called from any other, also from a signal's thread.
package final class SnapshotMount: Sendable {
    /// As it is kept for the next agent: with the profile that was decided.
    package let description: MountDescription
    package let profile: MountProfile
    package let statistics: SnapshotStatistics
    private let session: FuseSession
    let control: any MountControl

    /// What a mount is made of, beside its description.
    package struct Parts: Sendable {
        package var objects: any ObjectStore
        /// Shared by every mount of the node; closed by its owner, after the mounts have ended.
        package var cache: NodeCache
        package var workers: Int
        /// Takes one line for the log; called from any thread.
        package var notice: @Sendable (String) -> Void
        /// Told once that the mount's session has ended, from one of its threads; perhaps before `init` returns or throws.
        package var ended: @Sendable (SessionEnd) -> Void = { _ in }

        package init(
            objects: any ObjectStore, cache: NodeCache, workers: Int = FuseSession.defaultWorkers,
            notice: @escaping @Sendable (String) -> Void
        ) {
            self.objects = objects
            self.cache = cache
            self.workers = workers
            self.notice = notice
        }
    }

    /// Opens the snapshot, has it mounted, and serves. When it returns the mount answers.
    ///
    /// - Throws: `StoreError`, `MountError`, `FuseSessionError` or `Errno`; nothing is left mounted then.
    package init(
        mounting wanted: MountDescription, as choice: ProfileChoice = .auto, _ parts: Parts,
        holding: any MountHolding = OwnMounts()
    ) throws {
        let snapshot = try Self.snapshot(wanted, parts)
        statistics = snapshot.statistics
        let operations = try Self.operations(wanted, snapshot, parts)
        // The kernel would read what is encrypted, so opens need no message either.
        profile =
            parts.cache.isSealed
            ? .zeroMessageOpen : wanted.profile ?? Self.profile(choice, snapshot.statistics)
        var description = wanted
        description.profile = profile
        self.description = description
        var options = MountOptions(
            mountPoint: wanted.mountPoint, source: ByteString("kaml:\(wanted.name)"),
            allowOther: wanted.allowOther)
        options.allowNonEmpty = wanted.allowNonEmpty
        let mount = try holding.attach(options, description: description.serialized())
        control = mount.control
        do {
            session = try Self.serve(mount, operations, profile, dataset: wanted.dataset, parts)
        } catch {
            try? control.detach(lazily: true)
            throw error
        }
        do throws(MountError) { try control.raiseReadAhead(toKiB: wanted.readAheadKiB) } catch {
            parts.notice("reading ahead stays at the kernel's default: \(error)")
        }
    }

    /// Goes on with a mount that an agent before this one served. Its users notice nothing but the pause. When this
    /// throws the mount is as it was: it can be tried again, or unmounted lazily with its `MountControl`.
    ///
    /// - Throws: `StoreError`, `FuseSessionError` or `Errno`.
    package init(
        goingOnWith mount: consuming AttachedMount, _ description: MountDescription, _ parts: Parts
    ) throws {
        let snapshot = try Self.snapshot(description, parts)
        statistics = snapshot.statistics
        let operations = try Self.operations(description, snapshot, parts)
        profile = description.profile ?? Self.profile(.auto, snapshot.statistics)
        self.description = description
        control = mount.control
        session = try Self.serve(
            mount, operations, profile, dataset: description.dataset, parts)
    }

    private static func snapshot(_ description: MountDescription, _ parts: Parts) throws -> Snapshot {
        let source = parts.cache.manifests(origin: ManifestObjects(store: parts.objects))
        return try Snapshot(description.snapshot, from: source)
    }

    private static func operations(
        _ description: MountDescription, _ snapshot: Snapshot, _ parts: Parts
    ) throws -> DatasetFS {
        try DatasetFS(
            snapshot, name: description.name, cache: parts.cache, origin: parts.objects, notice: parts.notice)
    }

    private static func serve(
        _ mount: consuming AttachedMount, _ operations: DatasetFS, _ profile: MountProfile,
        dataset: String, _ parts: Parts
    ) throws -> FuseSession {
        var configuration = FuseSession.Configuration(
            profile: profile, workers: parts.workers, dataset: dataset, notice: parts.notice)
        configuration.ended = parts.ended
        let session = try FuseSession(
            mount, operations: operations,
            configuration: configuration)
        try session.start()
        try session.waitUntilServing()
        return session
    }

    /// Serves until somebody unmounts, or until `letGo` or `takeAway`. Does not wait for a store that does not answer.
    @discardableResult
    package func waitUntilEnded() -> SessionEnd { session.waitUntilEnded() }

    /// Takes the mount out of the tree; `waitUntilEnded` returns when the last open file is closed.
    package func unmount(lazily: Bool = false) throws(MountError) { try control.detach(lazily: lazily) }

    /// Takes the mount away from its users: out of the tree, and out of service, so that `waitUntilEnded` returns
    /// although files are open. Those fail once the process has ended and the connection is closed.
    package func takeAway() {
        // It may be out of the tree already; the session still has to end.
        try? control.detach(lazily: true)
        session.stop()
        control.ended()
    }

    /// Stops serving and leaves the mount to the next agent, where something holds it. Whether what was in hand is
    /// answered; if not, the kernel sends it again to the next agent.
    @discardableResult
    package func letGo(withinMilliseconds limit: Int) -> Bool {
        session.letGo(withinMilliseconds: limit)
    }

    /// Whether the kernel reads large files itself.
    package var passesThrough: Bool {
        profile == .passthrough && session.negotiated?.hasPassthrough == true
    }

    /// Whether the kernel sends what is in hand again to the next agent.
    var offersResend: Bool { session.negotiated?.offersResend == true }

    package func sessionStatistics() -> SessionStatistics { session.statistics() }

    /// Passthrough pays where few files hold most bytes; elsewhere opens cost more than reads, and the
    /// zero-message open wins. 16 MiB is where one open is lost in the time of reading the file.
    static func profile(_ wanted: ProfileChoice, _ statistics: SnapshotStatistics)
        -> MountProfile
    {
        switch wanted {
        case .large: return .passthrough
        case .small: return .zeroMessageOpen
        case .auto:
            guard statistics.largeFiles > 0, statistics.largeBytes >= statistics.smallBytes else {
                return .zeroMessageOpen
            }
            let mean = statistics.largeBytes / statistics.largeFiles
            return mean >= 16 << 20 ? .passthrough : .zeroMessageOpen
        }
    }
}
