package import DatasetStore

/// The local sparse twin of one pack: plain bytes at their container offsets, and a bit for each chunk that
/// says whether they are there.
package final class Container: @unchecked Sendable {
    package let pack: PackReference
    /// The whole container, mapped for reading: `pack.containerSize` bytes. Only chunks that are present hold
    /// their bytes. The kernel may copy from it; code that touches it itself risks SIGBUS when the disk fails.
    package let bytes: UnsafeRawPointer

    init(pack: PackReference, bytes: UnsafeRawPointer) {
        self.pack = pack
        self.bytes = bytes
    }

    /// Whether a chunk (below `pack.chunkCount`) is on disk and was verified.
    package func isPresent(_ chunk: Int) -> Bool { false }
    package func arePresent(_ chunks: Range<Int>) -> Bool { false }
    /// Whether all chunks are present.
    package var isComplete: Bool { false }

    /// The pack's footer: fetched once, verified, and kept on disk. Valid for the cache's life.
    package func footer() throws(CacheError) -> PackFooter {
        throw CacheError(.unsupported, "the cache is not written yet")
    }

    /// A descriptor of the complete container that cannot write, for the kernel to read from. Valid for the
    /// cache's life. Throws `unusable` while chunks are missing or the container has no file.
    package func lend() throws(CacheError) -> Int32 {
        throw CacheError(.unsupported, "the cache is not written yet")
    }

    /// Plain bytes of the chunks that are present.
    package func presentBytes() -> UInt64 { 0 }
}
