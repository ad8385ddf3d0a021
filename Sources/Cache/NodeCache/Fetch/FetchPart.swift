import Chunking
package import DatasetStore
import ObjectStore

/// A run of a container that a reader needs.
package struct FetchPart: Sendable {
    package enum Wanted: Sendable {
        case chunks(Range<Int>)
        /// Whatever chunks cover these bytes of the container.
        case bytes(Range<UInt64>)
    }

    package let container: Container
    package var wanted: Wanted
    /// The entry of the only chunk that is wanted, when the manifest has it: its frame can be read before the pack's
    /// footer, and without one. It goes into the container only once the footer has confirmed it. Its `base` is
    /// nil, so a prefix frame takes the footer first, and so does a reference, of which only the footer names the object.
    package var hint: ChunkEntry?
    /// What the part's source and the pack's footer disagree about, to be asked once the footer is at hand.
    package var problem: (@Sendable (PackFooter) -> String?)?
    let use: ContainerUse

    package init(container: Container, chunks: Range<Int>, hint: ChunkEntry? = nil) {
        self.container = container
        use = ContainerUse(container)
        wanted = .chunks(chunks)
        self.hint = hint
    }

    package init(
        container: Container, bytes: Range<UInt64>, problem: (@Sendable (PackFooter) -> String?)? = nil
    ) {
        self.container = container
        use = ContainerUse(container)
        wanted = .bytes(bytes)
        self.problem = problem
    }
}

/// A part with the chunks that it comes to, and what is known of each.
struct ResolvedPart: Sendable {
    var container: Container
    var chunks: Range<Int>
    var entries: [ChunkEntry]
    var hasHint: Bool
    /// The container's bytes that are wanted; nil when that is all of the chunks.
    var bytes: Range<UInt64>?

    /// What is asked for stays where it is until the last copy of the part is gone.
    let use: ContainerUse

    init(
        container: Container, chunks: Range<Int>, entries: [ChunkEntry], hasHint: Bool,
        use: ContainerUse? = nil
    ) {
        self.container = container
        self.chunks = chunks
        self.entries = entries
        self.hasHint = hasHint
        self.use = use ?? ContainerUse(container)
    }

    /// How many bytes of a chunk are wanted.
    func wanted(of entry: ChunkEntry) -> Int {
        guard let bytes else { return Int(entry.plainLength) }
        let own = entry.containerOffset..<(entry.containerOffset + UInt64(entry.plainLength))
        return bytes.clamped(to: own).count
    }
}

/// Chunks that are at hand, in the order they were asked for. Valid during the completion only.
package struct FetchedParts: Sendable {
    let request: FetchRequest

    /// The chunks of part `part`.
    package func chunks(part: Int) -> Range<Int> { request.chunks(part: part) }

    /// The plain bytes of chunk `chunk` (its index in the pack) of part `part`: in memory, or in the
    /// container's mapping. Empty when the request had no such chunk.
    package func bytes(part: Int, chunk: Int) -> UnsafeRawBufferPointer {
        unsafe request.bytes(part: part, chunk: chunk)
    }

    /// Where in the container the chunk's bytes lie; nil when the request had no such chunk.
    package func containerOffset(part: Int, chunk: Int) -> UInt64? {
        request.entry(part: part, chunk: chunk)?.containerOffset
    }
}

extension FetchPart {
    /// Whether the pack's footer has to be known first.
    private var needsFooter: Bool { hint?.needsFooter ?? true }

    /// The part as far as this node knows it, without asking the store; nil when that is not far enough.
    func resolveLocally() throws(CacheError) -> ResolvedPart? {
        let footer = container.localFooter()
        if footer == nil && needsFooter { return nil }
        return try resolve(footer)
    }

    /// The part; may read the footer from the store.
    func resolve() throws(CacheError) -> ResolvedPart {
        let footer = container.localFooter()
        if footer == nil && needsFooter { return try resolve(try container.footer()) }
        return try resolve(footer)
    }

    private func resolve(_ footer: PackFooter?) throws(CacheError) -> ResolvedPart {
        let chunks = try chunks(footer)
        if let hint {
            guard chunks.count == 1, hint.fits(container.pack) else {
                throw damaged("has lengths out of range", chunks.lowerBound)
            }
            guard let footer else {
                return ResolvedPart(
                    container: container, chunks: chunks, entries: [hint], hasHint: true, use: use)
            }
            let entry = footer[chunks.lowerBound]
            guard entry.describesSame(as: hint) else {
                throw damaged("contradicts the pack's footer", chunks.lowerBound)
            }
            return ResolvedPart(
                container: container, chunks: chunks, entries: [entry], hasHint: true, use: use)
        }
        guard let footer else { throw damaged("cannot be resolved", chunks.lowerBound) }
        if let what = problem?(footer) { throw damaged("is wrong: the footer \(what)", chunks.lowerBound) }
        var part = ResolvedPart(
            container: container, chunks: chunks, entries: chunks.map { footer[$0] }, hasHint: false,
            use: use)
        if case .bytes(let bytes) = wanted { part.bytes = bytes }
        return part
    }

    private func chunks(_ footer: PackFooter?) throws(CacheError) -> Range<Int> {
        switch wanted {
        case .chunks(let chunks):
            guard !chunks.isEmpty, chunks.lowerBound >= 0, chunks.upperBound <= Int(container.pack.chunkCount)
            else {
                throw damaged("names chunks \(chunks) of \(container.pack.chunkCount)", chunks.lowerBound)
            }
            return chunks
        case .bytes(let bytes):
            guard let footer, !bytes.isEmpty else { throw damaged("names no bytes", 0) }
            let first = footer.chunk(at: bytes.lowerBound)
            let last = footer.chunk(at: bytes.upperBound - 1)
            guard first <= last, last < footer.chunkCount else {
                throw damaged("names bytes that no chunk has", first)
            }
            return first..<(last + 1)
        }
    }

    private func damaged(_ what: String, _ chunk: Int) -> CacheError {
        CacheError.contradiction(container.pack, chunk, what)
    }
}

extension CacheError {
    static func contradiction(_ pack: PackReference, _ chunk: Int, _ what: String) -> CacheError {
        CacheError(
            .damaged, "a manifest's reference to the pack \(what)", object: pack.key.text, chunk: chunk,
            remedy: "Run `kaml check` on the snapshot")
    }
}
