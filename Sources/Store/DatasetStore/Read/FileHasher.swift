package import Chunking

/// The hash of a large file: over its (chunk hash, plain length) list, a hole being a chunk of hash zero.
package struct FileHasher: ~Copyable {
    private let hasher = ContentHasher()

    package init() { hasher.begin(.file) }

    package func addChunk(_ hash: ContentHash, _ length: UInt64) {
        unsafe withUnsafeBytes(of: hash.words) { unsafe hasher.update($0) }
        unsafe withUnsafeBytes(of: length.littleEndian) { unsafe hasher.update($0) }
    }

    /// Holes that touch are one hole: the caller adds them together first.
    package func addHole(_ length: UInt64) { addChunk(.zero, length) }

    package func finish() -> ContentHash { hasher.finish() }
}
