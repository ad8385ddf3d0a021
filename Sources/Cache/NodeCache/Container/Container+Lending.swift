import DatasetStore
package import System

extension Container {
    /// The container's file, from the cache's directory on.
    package var relativePath: ByteString { CacheLayout(directory: "").data(pack.id) }
}

extension NodeCache {
    /// Where the cache's files are.
    package var directory: ByteString { context.layout.directory }
}
