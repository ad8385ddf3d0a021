package import Chunking
package import ObjectStore

/// Constants of the manifest format v1. The article "StoreFormat" describes the bytes.
package enum ManifestFormat {
    static let rootMagic: StaticString = "KAMLROOT"
    static let shardMagic: StaticString = "KAMLSHRD"
    static let envelopeMagic: StaticString = "KAMLMANI"
    static let version: UInt16 = 1

    static let envelopeLength = 96
    static let rootHeaderLength = 128
    static let shardReferenceLength = 64
    static let shardHeaderLength = 64
    static let recordLength = 104
    static let directoryLength = 16
    static let extentLength = 40

    /// A shard ends after an entry whose key hash is a multiple of this, so shards hold about as many
    /// entries and a changed value never moves a boundary.
    static let shardDivisor: UInt64 = 16_384
    static let shardMinimum = 4_096
    static let shardMaximum = 65_536

    /// A shard also ends when its image has so many bytes, so that extents and attributes cannot make one
    /// that readers refuse.
    static let shardTargetLength = 32 << 20

    static let maximumShardLength: UInt64 = 256 << 20
    static let maximumRootLength: UInt64 = 1 << 30
    /// zstd's own bound: a block of at most 128 KiB takes four bytes at least. A reader allocates no more than
    /// so many times the payload on the word of an envelope.
    static let maximumRatio: UInt64 = 32_768
    static let maximumNameLength = 255
    static let maximumPathLength = 4_096

    /// Extended attributes of one entry: Linux's own limits of a list and of a value, and one for all together.
    static let maximumAttributeList = 64 << 10
    static let maximumAttributeValue = 64 << 10
    static let maximumAttributeBytes = 16 << 20

    /// `manifests/<64 hex digits>`.
    package static func key(of id: ContentHash) -> ObjectKey { ObjectKey(trusted: "manifests/\(id.hex)") }
}

/// Hash of names, for shard boundaries and for the nodes' lookup tables; not for content.
///
/// Little-endian words of 8 bytes, the last padded with zeros; for each: h ^= word, h *= 0x9E3779B97F4A7C15,
/// h ^= h >> 32; then the length the same way. The key hash of an entry is the name's, seeded with its
/// parent path's, which is seeded with 0.
enum KeyHash {
    @inline(__always)
    static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        var hash = seed
        var offset = 0
        let count = bytes.count
        if let base = bytes.baseAddress {
            while offset + 8 <= count {
                hash = unsafe mix(hash, base.u64(offset))
                offset += 8
            }
            if offset < count {
                var word: UInt64 = 0
                var shift: UInt64 = 0
                while offset < count {
                    unsafe word |= UInt64(base.u8(offset)) << shift
                    shift += 8
                    offset += 1
                }
                hash = mix(hash, word)
            }
        }
        return mix(hash, UInt64(count))
    }

    @inline(__always)
    private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        return product ^ (product >> 32)
    }
}
