package import DatasetStore
package import ObjectStore
package import System

/// Chunks of packs on the node's own disk: verified once, shared by every reader of the node.
///
/// One process at a time uses a directory. All methods may be called from any thread.
package final class NodeCache: Sendable {
    /// Opens or makes the cache in `directory` and takes its lock. `notice` is told, once each, of troubles
    /// that do not stop the cache, such as a full disk; it may be called from any thread.
    package init(
        directory: ByteString, options: CacheOptions = CacheOptions(),
        fileSystem: any FileSystem = HostFileSystem(), clock: any Clock = HostClock(),
        notice: @escaping @Sendable (String) -> Void
    ) throws(CacheError) {
        throw CacheError(.unsupported, "the cache is not written yet")
    }

    /// The local twin of a pack: the same instance for the cache's life.
    package func container(
        for pack: PackReference, origin: any ObjectStore
    ) throws(CacheError) -> Container {
        throw CacheError(.unsupported, "the cache is not written yet")
    }

    /// Manifest images that are decompressed once into the directory and mapped.
    package func manifests(origin: ManifestObjects) -> any ManifestSource {
        StoreManifestSource(objects: origin)
    }

    /// Makes chunks readable and calls `completion` exactly once: on the caller's thread when one of the inline
    /// slots is free, else on a fetch thread. Nobody waits inside for a chunk that another call fetches.
    package func fetch(
        _ parts: [FetchPart], completion: @escaping @Sendable (Result<FetchedParts, CacheError>) -> Void
    ) {
        completion(.failure(CacheError(.unsupported, "the cache is not written yet")))
    }

    package func statistics() -> CacheStatistics { CacheStatistics() }

    /// Makes what was filled durable, says so in the directory, and gives the lock back. Fetches that run
    /// are finished first; later ones fail with `closed`. Containers stay mapped.
    package func close() {}
}
