import Chunking
package import DatasetStore
import ObjectStore

/// A run of chunks of one container that a reader needs.
package struct FetchPart: Sendable {
    package var container: Container
    package var chunks: Range<Int>
    /// The entry of the only chunk in `chunks`, when the manifest has it: its frame can be read before the pack's
    /// footer, and without one. It goes into the container only once the footer has confirmed it. Its `base` is
    /// nil, so a prefix frame takes the footer first, and
    /// so does a reference, of which only the footer names the object.
    package var hint: ChunkEntry?

    package init(container: Container, chunks: Range<Int>, hint: ChunkEntry? = nil) {
        self.container = container
        self.chunks = chunks
        self.hint = hint
    }
}

/// Chunks that are at hand, in the order they were asked for. Valid during the completion only.
package struct FetchedParts: Sendable {
    let request: FetchRequest

    /// The plain bytes of chunk `chunk` (its index in the pack) of part `part`: in memory, or in the
    /// container's mapping. Empty when the request had no such chunk.
    package func bytes(part: Int, chunk: Int) -> UnsafeRawBufferPointer {
        unsafe request.bytes(part: part, chunk: chunk)
    }
}

extension FetchPart {
    /// What is known of each of the part's chunks; may read the footer from the store.
    func entries() throws(CacheError) -> [ChunkEntry] {
        let pack = container.pack
        guard !chunks.isEmpty, chunks.lowerBound >= 0, chunks.upperBound <= Int(pack.chunkCount) else {
            throw damaged("names chunks \(chunks) of \(pack.chunkCount)")
        }
        guard let hint else {
            let footer = try container.footer()
            return chunks.map { footer[$0] }
        }
        guard chunks.count == 1, hint.fits(pack) else { throw damaged("has lengths out of range") }
        if !hint.needsFooter && container.footerLoader.known == nil { return [hint] }
        let entry = try container.footer()[chunks.lowerBound]
        guard entry.describesSame(as: hint) else { throw damaged("contradicts the pack's footer") }
        return [entry]
    }

    func damaged(_ what: String) -> CacheError {
        CacheError(
            .damaged, "a manifest's reference to the pack \(what)", object: container.pack.key.text,
            chunk: chunks.lowerBound, remedy: "Run `kaml check` on the snapshot")
    }
}
