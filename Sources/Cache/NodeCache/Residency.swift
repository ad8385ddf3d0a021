package import DatasetStore
import Glibc
import ObjectStore
import Synchronization
import System

/// What of a pack, or of a part of it, lies on this node and can be read without its store.
package struct Residency: Sendable, Hashable {
    /// Chunks that were asked about.
    package var chunks = 0
    /// Those of them that are present and trusted.
    package var presentChunks = 0
    /// Plain bytes of the chunks that are present.
    package var presentBytes: UInt64 = 0

    package init() {}

    package var isComplete: Bool { presentChunks == chunks }
}

extension NodeCache {
    /// What the node has of `chunks` of a pack; of all of them when nil. Asks no store, opens no container, and counts
    /// nothing that the next read would have to hash first.
    package func residency(of pack: PackReference, chunks: Range<Int>? = nil) -> Residency {
        residency(of: pack, runs: [chunks ?? 0..<Int(pack.chunkCount)])
    }

    /// The same of several runs of chunks at once.
    package func residency(of pack: PackReference, runs: [Range<Int>]) -> Residency {
        let all = 0..<Int(pack.chunkCount)
        let wanted = runs.map { $0.clamped(to: all) }
        return ResidencyReader(context, registry).read(pack) { _ in wanted }
    }

    /// What the node has of the container bytes `bytes` of a pack, by whole chunks. A pack of whose chunks nothing is
    /// known here has none of them present; `chunks` is then an estimate of at least 1.
    package func residency(of pack: PackReference, bytes: Range<UInt64>) -> Residency {
        let known = ResidencyReader(context, registry).read(pack) { footer in
            guard let footer, !bytes.isEmpty else { return [] }
            let first = footer.chunk(at: bytes.lowerBound)
            let last = footer.chunk(at: bytes.upperBound - 1)
            return [first..<min(max(first, last + 1), footer.chunkCount)]
        }
        if known.chunks > 0 || bytes.isEmpty { return known }
        var nothing = Residency()
        nothing.chunks = 1
        return nothing
    }

    /// Removes a pack's container from the disk; returns the bytes of its blocks. What first reads of imported objects
    /// found out about them stays, so that the next fetch is held to it, unless it is `forgetting`. 0 when there is none.
    ///
    /// Throws `inUse` while somebody reads from it, or has a file open that the kernel reads from it, or a lease pins it.
    package func evict(_ pack: PackID, forgetting: Bool = false) throws(CacheError) -> UInt64 {
        if isClosed.load(ordering: .acquiring) { throw CacheError(.closed, "the cache was closed") }
        if keeper.state.withLock({ $0.pins.holds(pack) }) {
            throw CacheError(
                .inUse, "the container is pinned", object: PackFormat.key(of: pack).text,
                remedy: "End the pin (`kaml pin --end`), or wait for its end")
        }
        let freed = try registry.evict(pack, forgetting: forgetting)
        keeper.didEvict(pack)
        return freed
    }
}

/// Looks at containers without opening them.
private struct ResidencyReader {
    let context: CacheContext
    let registry: ContainerRegistry

    init(_ context: CacheContext, _ registry: ContainerRegistry) {
        self.context = context
        self.registry = registry
    }

    func read(_ pack: PackReference, _ wanted: (PackFooter?) -> [Range<Int>]) -> Residency {
        if let container = registry.find(pack.id), container.pack == pack, container.hasDisk {
            let use = ContainerUse(container)
            defer { withExtendedLifetime(use) {} }
            let footer = container.localFooter()
            return count(container.bitmap, footer, wanted(footer))
        }
        guard pack.isPlausible, let map = StoredMap(pack, context) else {
            return count(nil, nil, wanted(nil))
        }
        let footer = map.footer
        let residency = count(map.bitmap, footer, wanted(footer))
        withExtendedLifetime(map) {}
        return residency
    }

    private func count(_ bitmap: PresenceBitmap?, _ footer: PackFooter?, _ wanted: [Range<Int>]) -> Residency
    {
        var residency = Residency()
        residency.chunks = wanted.reduce(0) { $0 + $1.count }
        // Without its footer a chunk's place is not known, and nothing is trusted.
        guard let bitmap, let footer else { return residency }
        for chunk in wanted.joined() where bitmap.isTrusted(chunk) {
            residency.presentChunks += 1
            residency.presentBytes &+= UInt64(footer[chunk].plainLength)
        }
        return residency
    }
}

/// A map file as it lies there, with the footer in it.
@safe private final class StoredMap {
    let bitmap: PresenceBitmap
    private(set) var footer: PackFooter?
    private let bytes: UnsafeMutableRawBufferPointer

    /// Nil when there is no map that fits the pack, or no data beside it.
    init?(_ pack: PackReference, _ context: CacheContext) {
        let length = ContainerMap.footerOffset(pack)
        guard
            let file = try? context.files.open(
                context.layout.map(pack.id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
            (try? context.files.status(of: file))?.kind == .regular,
            let data = try? context.files.status(of: context.layout.data(pack.id)), data.kind == .regular,
            data.size == pack.containerSize
        else { return nil }
        let seal = context.sealing.flatMap { ContainerSeal(in: file, pack, $0, context.files) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: length + Int(pack.footerLength), alignment: 64)
        let count = (try? unsafe context.files.read(file, into: buffer, at: 0)) ?? 0
        let raw = UnsafeRawBufferPointer(buffer)
        guard count >= length, let header = unsafe ContainerMap(raw), header.pack == pack,
            header.isSealed == (seal != nil)
        else {
            unsafe buffer.deallocate()
            return nil
        }
        unsafe bytes = unsafe buffer
        bitmap = unsafe PresenceBitmap(
            raw, of: header, keepsTrust: header.keepsTrust(raw, context))
        if header.hasFooter, count == buffer.count {
            let own = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[length...])
            guard unsafe seal?.open(footer: own) ?? true else { return }
            footer = try? unsafe PackFooter(UnsafeRawBufferPointer(own), of: pack)
        }
    }

    deinit { unsafe bytes.deallocate() }
}
