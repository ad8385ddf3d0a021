package import DatasetStore

/// A run of chunks of one container that a reader needs.
package struct FetchPart: Sendable {
    package var container: Container
    package var chunks: Range<Int>
    /// The entry of the only chunk in `chunks`, when the manifest has it: saves reading the pack's footer.
    /// Its `base` is nil, so a prefix frame takes the footer all the same.
    package var hint: ChunkEntry?

    package init(container: Container, chunks: Range<Int>, hint: ChunkEntry? = nil) {
        self.container = container
        self.chunks = chunks
        self.hint = hint
    }
}

/// Chunks that are at hand, in the order they were asked for. Valid during the completion only.
package struct FetchedParts: @unchecked Sendable {
    // Sendable: points into memory that is not written while the completion runs.
    /// The plain bytes of chunk `chunk` (its index in the pack) of part `part`.
    package func bytes(part: Int, chunk: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: nil, count: 0)
    }
}
