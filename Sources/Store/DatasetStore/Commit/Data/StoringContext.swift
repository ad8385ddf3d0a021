import ObjectStore
import System

/// What those who store chunks share.
struct StoringContext: Sendable {
    let objects: any ObjectStore
    let catalog: ChunkCatalog
    let footers: PackFooters
    let bases: PlainChunkCache
    let publisher: PackPublisher
    let random: any RandomSource
}

extension PackID {
    /// A new id from a source whose type is not known here.
    init(random: any RandomSource) {
        let bytes = random.bytes(Self.byteCount)
        self = unsafe bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return PackID(high: 0, low: 0) }
            return unsafe PackID(loading: base)
        }
    }
}
