/// What a cache that is sealed has everywhere at hand.
///
/// What sealing protects, and from whom: a disk that was taken out of the node, thrown away, or copied; files of the cache in
/// the hands of another user. Sealed are the bytes of chunks, the packs' footers (hashes, and the names of imported
/// objects), manifests (file names, sizes, times, attributes), the hashes that first reads found out, the names of datasets
/// and leases. Not hidden are the ids of packs and manifests, how large they are, which chunks of them are here, how
/// the files change, and counters.
/// An id of a manifest is a hash: whoever has the dataset can tell that it is here. What was in the clear before the cache was
/// sealed may still be found in free blocks of the disk. While the agent runs, its memory has keys and plain bytes, and so
/// have the page caches of mounts: swap and core dumps belong on encrypted disks too. Who reads mounts, or is root
/// on the running node, reads the data.
///
/// Each container and each file has a random key of its own, which its envelope has sealed with the node's key: a new node key
/// needs nothing to be written again, and what former keys sealed is read for as long as they are listed.
struct CacheSealing: Sendable {
    let keys: CacheKeys
    let pool = SealBufferPool()

    init(_ keys: CacheKeys) { self.keys = keys }

    var file: SealedFile { SealedFile(keys: keys, pool: pool) }
}
