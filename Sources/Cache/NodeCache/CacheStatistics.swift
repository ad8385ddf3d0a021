/// What a cache did, over all its lives unless said otherwise.
package struct CacheStatistics: Sendable, Hashable {
    /// Stored bytes that were read from stores, footers included, manifests not.
    package var fetchedBytes: UInt64 = 0
    /// Ranged reads of packs.
    package var fetchRequests: UInt64 = 0
    /// Stored bytes of manifest objects that were read from stores.
    package var manifestBytes: UInt64 = 0
    /// Plain bytes that were verified and written into containers.
    package var filledBytes: UInt64 = 0
    /// Chunks whose hash was right, and was not, when they arrived from a store.
    package var verifiedChunks: UInt64 = 0
    package var failedChunks: UInt64 = 0
    /// Chunks on disk that were hashed again, and those of them that had to be fetched anew.
    package var recheckedChunks: UInt64 = 0
    package var rejectedChunks: UInt64 = 0
    /// Chunks that were answered from memory because the cache's disk did not take them.
    package var readThroughs: UInt64 = 0
    /// Containers that made room for others, and the bytes of their blocks.
    package var evictedContainers: UInt64 = 0
    package var evictedBytes: UInt64 = 0
    /// Plain bytes that were hashed again in the background, the chunks of them that were wrong, and the times that all of
    /// the cache was gone through.
    package var scrubbedBytes: UInt64 = 0
    package var scrubBadChunks: UInt64 = 0
    package var scrubPasses: UInt64 = 0
    /// Container files in the directory now.
    package var containers: UInt64 = 0
    /// Containers open in this process that hold every chunk of their pack.
    package var completeContainers: UInt64 = 0
    /// Real blocks of all files in the directory now, in bytes.
    package var allocatedBytes: UInt64 = 0

    package init() {}
}
