import Chunking
import DatasetStore
import ObjectStore
import System

/// The chunk that a prefix frame was compressed against.
struct PrefixBase {
    let container: Container
    let chunk: Int
    let entry: ChunkEntry
    let use: ContainerUse

    /// Finds it through the footer of the frame's pack. Opens the base's container and may read its footer, unless
    /// `isLocal`, when it throws `notFound` instead.
    init(
        of claim: FetchClaim, in container: Container, _ registry: ContainerRegistry, isLocal: Bool = false
    ) throws(CacheError) {
        func damaged(_ what: String) -> CacheError {
            CacheError(
                .damaged, "the base of a chunk of the pack \(what)", object: container.pack.key.text,
                chunk: claim.chunk, remedy: "Run `kaml check`")
        }
        guard let base = claim.entry.base else { throw damaged("is not named") }
        let own = isLocal ? container.localFooter() : try container.footer()
        guard let own else { throw CacheError(.notFound, "the footer is not on this node") }
        guard let pack = own.basePack(base.pack) else { throw damaged("is out of range") }
        self.container = try registry.container(for: pack, origin: container.origin)
        use = ContainerUse(self.container)
        let footer = isLocal ? self.container.localFooter() : try self.container.footer()
        guard let footer else { throw CacheError(.notFound, "the footer is not on this node") }
        guard let chunk = Int(exactly: base.chunk), chunk < footer.chunkCount else {
            throw damaged("is out of range")
        }
        entry = footer[chunk]
        // Depth one is a rule of the format: without it a read could need any number of packs.
        guard entry.codec != .zstdPrefix else { throw damaged("needs a base itself") }
        // Somebody else's object may go at any time.
        guard entry.codec != .reference else { throw damaged("is an imported object") }
        self.chunk = chunk
    }

    /// Its plain bytes out of the container. Nil when the disk does not give them; the chunk is then forgotten.
    func read(_ buffers: FetchBuffers) -> UnsafeRawBufferPointer? {
        let plain = unsafe buffers.base(Int(entry.plainLength))
        // pread and not the mapping: a failing disk must be an error here, not a SIGBUS.
        guard let disk = container.disk, unsafe disk.read(chunk, into: plain, at: entry.containerOffset)
        else {
            container.reject(chunk)
            return nil
        }
        return UnsafeRawBufferPointer(plain)
    }
}
