import Chunking
package import DatasetStore
import Glibc
import ObjectStore
import Synchronization
import System

/// The local sparse twin of one pack: plain bytes at their container offsets, and a bit for each chunk that
/// says whether they are there.
///
/// A container without a disk (the cache's directory takes no files) is one in which nothing is ever present.
@safe package final class Container: @unchecked Sendable {
    // Sendable: immutable, but for atomics and monitors.
    package let pack: PackReference
    /// The whole container, mapped for reading: `pack.containerSize` bytes. Only chunks that are present hold
    /// their bytes. The kernel may copy from it; code that touches it itself risks SIGBUS when the disk fails.
    package let bytes: UnsafeRawPointer

    let context: CacheContext
    let disk: ContainerDisk?
    let bitmap: PresenceBitmap
    private let trustedCount: Atomic<Int>
    let footerLoader = FooterLoader()
    /// Of a reference pack only.
    let references: ReferenceState?
    /// Whether replies were made from the mapping since its pages were last dropped.
    let isTouched = Atomic(false)
    /// Whether readers of present chunks tell the cache (`NodeCache.didRead`), which reads ahead of them.
    let isObserved = Atomic(false)
    /// Chunks that are in memory for their readers (RecentChunks): they are not to be read from the mapping, whose pages
    /// may be nowhere but on disk.
    let heldChunks = Atomic<Int>(0)
    /// Whether readers had chunks from memory whose pages may be nowhere but on disk.
    let isWithReaders = Atomic(false)
    private let lent = Atomic<Int32>(-1)
    /// When a container that its disk refused may try again.
    private let retryTime: Atomic<UInt64>
    private static let retryPause: UInt64 = 30_000_000_000
    private let origins: Monitor<(any ObjectStore)?>

    /// How a container takes its files.
    enum Files {
        case open
        /// Gives up those of another description of the pack.
        case replace
        /// Does without.
        case none
    }

    /// Falls back to a container without files when the disk does not take them.
    init(
        pack: PackReference, origin: (any ObjectStore)?, context: CacheContext, files: Files = .open
    ) throws(CacheError) {
        guard pack.isPlausible, let length = Int(exactly: pack.containerSize) else {
            throw CacheError(
                .damaged, "the reference to the pack has lengths out of range", object: pack.key.text,
                remedy: "Run `kaml check`")
        }
        var opened: (disk: ContainerDisk, bitmap: PresenceBitmap)?
        if context.hasDisk, files != .none {
            do throws(Errno) {
                opened = try ContainerOpening(context: context, pack: pack, replaces: files == .replace)
                    .open()
            } catch { context.noticeDiskTrouble(error) }
        }
        let address =
            if let opened {
                unsafe mmap(nil, length, PROT_READ, MAP_SHARED, opened.disk.data.rawValue, 0)
            } else {
                // Nobody reads it; it keeps `bytes` a valid pointer.
                unsafe mmap(nil, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            }
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw CacheError(
                .exhausted, "the container cannot be mapped", object: pack.key.text, cause: Errno.last,
                remedy: "Raise vm.max_map_count, or use fewer packs at a time")
        }
        self.pack = pack
        self.context = context
        references = pack.holdsReferences ? ReferenceState(context, pack) : nil
        unsafe bytes = UnsafeRawPointer(address)
        disk = opened?.disk
        bitmap = opened?.bitmap ?? PresenceBitmap(count: Int(pack.chunkCount))
        trustedCount = Atomic(bitmap.countTrusted())
        origins = Monitor(origin)
        retryTime = Atomic(context.clock.monotonicNanoseconds() &+ Self.retryPause)
    }

    /// Whether its files were refused long enough ago to ask for them again; once for each pause.
    func takesRetry() -> Bool {
        guard disk == nil, context.hasDisk else { return false }
        let now = context.clock.monotonicNanoseconds()
        guard now >= retryTime.load(ordering: .relaxed) else { return false }
        retryTime.store(now &+ Self.retryPause, ordering: .relaxed)
        return true
    }

    /// Without a disk nothing is ever present, and another instance may take this one's place.
    package var hasDisk: Bool { disk != nil }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: bytes), Int(pack.containerSize))
        let descriptor = lent.load(ordering: .acquiring)
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Whether a chunk is on disk and was verified. False for an index that the pack does not have.
    @inline(__always)
    package func isPresent(_ chunk: Int) -> Bool { bitmap.isTrusted(chunk) }

    /// Whether a chunk is on disk and has to be hashed before its next use.
    func isUntrusted(_ chunk: Int) -> Bool { bitmap.isPresent(chunk) && !bitmap.isTrusted(chunk) }

    /// Whether all of a run of chunks are.
    @inline(__always)
    package func arePresent(_ chunks: Range<Int>) -> Bool { bitmap.areTrusted(chunks) }

    /// Whether all chunks are present.
    package var isComplete: Bool { trustedCount.load(ordering: .acquiring) == bitmap.count }

    /// Chunks that are present.
    package var presentCount: Int { trustedCount.load(ordering: .relaxed) }

    /// Plain bytes of the chunks that are present; estimated by their number while the footer is not known.
    package func presentBytes() -> UInt64 {
        let count = presentCount
        if count == bitmap.count && pack.layout == .file { return pack.containerSize }
        guard let footer = footerLoader.known else {
            return UInt64(Double(pack.containerSize) * Double(count) / Double(bitmap.count))
        }
        return (0..<bitmap.count).reduce(0) { sum, chunk in
            bitmap.isTrusted(chunk) ? sum &+ UInt64(footer[chunk].plainLength) : sum
        }
    }

    /// A descriptor of the complete container that cannot write, for the kernel to read from. Valid for the
    /// cache's life. Throws `unusable` while chunks are missing or the container has no file.
    package func lend() throws(CacheError) -> Int32 {
        let known = lent.load(ordering: .acquiring)
        if known >= 0 { return known }
        guard isComplete, let disk else {
            throw CacheError(
                .unusable, "the container is not complete", object: pack.key.text,
                remedy: "Read what is missing first")
        }
        let descriptor = try openReadOnly(disk)
        let (exchanged, first) = lent.compareExchange(
            expected: -1, desired: descriptor, ordering: .acquiringAndReleasing)
        if exchanged { return descriptor }
        Glibc.close(descriptor)
        return first
    }

    private func openReadOnly(_ disk: ContainerDisk) throws(CacheError) -> Int32 {
        do throws(Errno) {
            let file = try context.files.open(
                context.layout.data(pack.id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            let (found, own) = (try context.files.status(of: file), try context.files.status(of: disk.data))
            guard found.inode == own.inode, found.device == own.device else { throw .stale }
            return file.release()
        } catch {
            throw CacheError(
                .unusable, "the container's file was moved away under the cache", object: pack.key.text,
                cause: error,
                remedy: "Find out who changes files below \(context.layout.directory), and mount again")
        }
    }

    /// Whether a mount's page cache may have what this container's has not, so that a reader does better with the mount's.
    package var mountsHaveIt: Bool { isWithReaders.load(ordering: .relaxed) }

    /// A mount asked for bytes of the complete container: its page cache has lost them, or never had them.
    @inline(__always)
    package func didServeComplete() {
        if isWithReaders.load(ordering: .relaxed) { isWithReaders.store(false, ordering: .relaxed) }
    }

    // MARK: - For the fetch

    /// The store the pack is read from; nil when the container was opened for a scrub only.
    var origin: (any ObjectStore)? { origins.withLock { $0 } }

    /// Gives a container that a scrub opened its store.
    func attach(_ origin: any ObjectStore) { origins.withLock { $0 = $0 ?? origin } }

    /// Keeps a chunk's verified bytes. False when the disk does not take them: the caller answers from memory.
    func store(_ chunk: Int, at offset: UInt64, _ plain: UnsafeRawBufferPointer) -> Bool {
        guard let disk else {
            context.counters.readThroughs.count()
            return false
        }
        do throws(Errno) {
            try unsafe disk.write(plain, at: offset)
        } catch {
            context.counters.readThroughs.count()
            context.noticeDiskTrouble(error)
            return false
        }
        didStore(chunk, bytes: plain.count)
        return true
    }

    /// What a chunk's bytes have to hash to; nil when nobody knows yet.
    func expectedHash(_ chunk: Int, _ entry: ChunkEntry) -> ContentHash? {
        guard entry.codec == .reference else { return entry.hash }
        return entry.hash == .zero ? references?.hashes.known(chunk) : entry.hash
    }

    /// Whether the chunk's hash is known to later lives of the cache. Before its bit is set.
    func keepHash(_ chunk: Int, _ entry: ChunkEntry, _ hash: ContentHash) -> Bool {
        guard entry.codec == .reference, entry.hash == .zero else { return true }
        return references?.hashes.record(chunk, hash) ?? false
    }

    /// Makes everything durable, hashes before the bits that lean on them.
    func close() {
        if references?.hashes.sync() ?? true { disk?.close(bitmap) }
    }

    /// Makes a chunk readable whose verified bytes were written.
    func didStore(_ chunk: Int, bytes: Int) {
        didStore(CollectionOfOne((chunk: chunk, bytes: bytes)))
    }

    /// The same for chunks that were written together: each word of the map is written once.
    func didStore(_ chunks: some Collection<(chunk: Int, bytes: Int)>) {
        var words = Set<Int>()
        for (chunk, bytes) in chunks {
            if bitmap.set(chunk) { trustedCount.wrappingAdd(1, ordering: .acquiringAndReleasing) }
            words.insert(chunk >> 6)
            context.counters.filledBytes.count(bytes)
        }
        for word in words { disk?.persist(word << 6, of: bitmap) }
        if isComplete { disk?.didComplete() }
    }

    /// Whether some of its chunks are in memory for their readers, who ask for them by `NodeCache.fetch`.
    @inline(__always)
    package var holdsRecent: Bool { heldChunks.load(ordering: .relaxed) > 0 }

    /// Makes a chunk readable whose bytes in the container are known to be right.
    func trust(_ chunk: Int) {
        if bitmap.set(chunk) { trustedCount.wrappingAdd(1, ordering: .acquiringAndReleasing) }
        disk?.persist(chunk, of: bitmap)
    }

    /// Forgets a chunk whose bytes in the container are wrong or cannot be read.
    func reject(_ chunk: Int) {
        if bitmap.clear(chunk) { trustedCount.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
        disk?.persist(chunk, of: bitmap)
    }

    /// Has a chunk hashed again before its next use.
    func distrust(_ chunk: Int) {
        if bitmap.distrust(chunk) { trustedCount.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
        disk?.persist(chunk, of: bitmap)
    }
}
