package import Chunking
import DatasetFS
import DatasetStore
package import FuseSession
package import NodeCache
package import ObjectStore
import Synchronization
package import System

/// What to mount, where, and how.
package struct SnapshotMountOptions: Sendable {
    /// How the mount profile is chosen.
    package enum Profile: String, Sendable, CaseIterable { case auto, large, small }

    package var snapshot: ContentHash
    /// `dataset@ref`, as people call it: shown by mount(8), in messages and in `user.kaml.dataset`.
    package var name: String
    package var mountPoint: ByteString
    package var cacheDirectory: ByteString
    package var profile: Profile = .auto
    package var workers: Int = FuseSession.defaultWorkers
    package var readAheadKiB: Int = 4096
    package var allowOther: Bool
    package var allowNonEmpty = false
    package var cache = CacheOptions()

    package init(
        snapshot: ContentHash, name: String, mountPoint: ByteString, cacheDirectory: ByteString,
        allowOther: Bool
    ) {
        self.snapshot = snapshot
        self.name = name
        self.mountPoint = mountPoint
        self.cacheDirectory = cacheDirectory
        self.allowOther = allowOther
    }
}

/// One mounted snapshot, from store to mount point: cache, file system and FUSE session put together.
///
/// Blocks its caller's thread; `unmount` may be called from any other, also from a signal's thread.
package final class SnapshotMount: Sendable {
    package let profile: MountProfile
    private let options: SnapshotMountOptions
    private let cache: NodeCache
    private let session: FuseSession
    private let mounter: Mounter

    /// Opens cache and snapshot, mounts, and serves. When it returns the mount answers. `sources` finds the objects that
    /// an import refers to.
    ///
    /// - Throws: `CacheError`, `StoreError`, `MountError`, `FuseSessionError` or `Errno`; nothing is left
    ///   mounted then.
    package init(
        _ options: SnapshotMountOptions, objects: any ObjectStore,
        sources: any ObjectSources = NoObjectSources(), notice: @escaping @Sendable (String) -> Void
    ) throws {
        self.options = options
        cache = try NodeCache(
            directory: options.cacheDirectory, options: options.cache, fileSystem: HostFileSystem(),
            clock: HostClock(), sources: sources, notice: notice)
        let source = cache.manifests(origin: ManifestObjects(store: objects))
        let snapshot = try Snapshot(options.snapshot, from: source)
        let operations = try DatasetFS(
            snapshot, name: options.name, cache: cache, origin: objects, notice: notice)
        profile = Self.profile(options.profile, snapshot.statistics)
        var mount = MountOptions(
            mountPoint: options.mountPoint, source: ByteString("kaml:\(options.name)"),
            allowOther: options.allowOther)
        mount.allowNonEmpty = options.allowNonEmpty
        mounter = Mounter(mount)
        let device = try mounter.attach()
        do {
            session = try FuseSession(
                device: device, operations: operations,
                configuration: .init(profile: profile, workers: options.workers, notice: notice))
            try session.start()
            try session.waitUntilServing()
        } catch {
            try? mounter.detach(lazily: true)
            throw error
        }
        do throws(MountError) { try mounter.raiseReadAhead(toKiB: options.readAheadKiB) } catch {
            notice("reading ahead stays at the kernel's default: \(error)")
        }
    }

    /// Serves until somebody unmounts, then closes the cache in order.
    @discardableResult
    package func waitUntilEnded() -> SessionEnd {
        let end = session.waitUntilEnded()
        cache.close()
        return end
    }

    /// Takes the mount out of the tree; `waitUntilEnded` returns when the last open file is closed.
    package func unmount(lazily: Bool = false) throws(MountError) { try mounter.detach(lazily: lazily) }

    /// Takes the mount away from its users: out of the tree, and out of service, so that `waitUntilEnded` returns
    /// although files are open. Those fail once the process has ended and the connection is closed.
    package func takeAway() {
        // It may be out of the tree already; the session still has to end.
        try? mounter.detach(lazily: true)
        session.stop()
    }

    /// Whether the kernel reads large files itself.
    package var passesThrough: Bool {
        profile == .passthrough && session.negotiated?.hasPassthrough == true
    }

    package func cacheStatistics() -> CacheStatistics { cache.statistics() }
    package func sessionStatistics() -> SessionStatistics { session.statistics() }

    /// Passthrough pays where few files hold most bytes; elsewhere opens cost more than reads, and the
    /// zero-message open wins. 16 MiB is where one open is lost in the time of reading the file.
    static func profile(_ wanted: SnapshotMountOptions.Profile, _ statistics: SnapshotStatistics)
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
