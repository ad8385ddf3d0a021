import Chunking
package import DatasetStore
import Glibc
import ObjectStore
import Synchronization
import System

/// The local sparse twin of one pack: plain bytes at their container offsets, and a bit for each chunk that
/// says whether they are there.
///
/// The object lasts as long as the cache, and many hold its address; its files, its mapping and its footer come and go
/// (`Container+Use`). Without its files (asleep, evicted, or refused by the disk) nothing is present in it.
@safe package final class Container: @unchecked Sendable {
    // Sendable: immutable, but for atomics and monitors.
    package let pack: PackReference
    /// The whole container, mapped for reading: `pack.containerSize` bytes. Only chunks that are present hold
    /// their bytes, and only while the container is in use (`enter`). The kernel may copy from it; code that touches it
    /// itself risks SIGBUS when the disk fails. Nowhere when the container is sealed (`isSealed`).
    package var bytes: UnsafeRawPointer {
        @inline(__always) get {
            unsafe mapping.load(ordering: .relaxed) ?? (isSealed ? Self.forbidden : Self.nowhere)
        }
    }

    /// Whether its bytes on disk are encrypted: they are read by `SealBuffers.open`, and nothing is lent or mapped.
    package let isSealed: Bool
    let context: CacheContext
    let bitmap: PresenceBitmap
    let trustedCount = Atomic(0)
    let mapping = unsafe Atomic<UnsafeRawPointer?>(nil)
    /// Changes only while the pack's entry in the registry says `opening`.
    let files = Monitor<ContainerDisk?>(nil)
    let isAwake = Atomic(false)
    /// Those who use what lies behind the object, or `leaving` below zero while that is taken away.
    let users = Atomic<Int>(0)
    /// Files open that the kernel reads from the container by itself.
    let lends = Atomic<Int>(0)
    /// Whether somebody read from it, or wanted to, since the policy last looked.
    let isUsed = Atomic(false)
    /// Whether there was no room for some of it since then.
    let isRefused = Atomic(false)
    /// Bytes that the ledger has for fills that ended since the policy last looked.
    let charged = Atomic<Int>(0)
    /// In whose name it is kept (`TenantNames`).
    let tenant = Atomic<UInt32>(0)
    /// A bit for each dataset that asked for it in this life of the cache.
    let sharers = Atomic<UInt64>(0)
    /// Whether its files were closed with words in the map that no sync vouches for.
    let needsCleaning = Atomic(false)
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
    let lent = Atomic<Int32>(-1)
    let lentTime = Atomic<UInt64>(0)
    /// When a container that its disk refused may try again.
    private let retryTime = Atomic<UInt64>(0)
    static let retryPause: UInt64 = 30_000_000_000
    /// What `bytes` is without a mapping. Unchecked: made once, and nobody reads or writes there.
    private nonisolated(unsafe) static let nowhere = UnsafeRawPointer(
        UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64))
    /// What `bytes` is of a sealed container. Whoever forgets to ask gets a fault and no bytes: no process has memory there,
    /// nor for 16 GiB behind it.
    private static var forbidden: UnsafeRawPointer {
        unsafe UnsafeRawPointer(bitPattern: 1 << 55).unsafelyUnwrapped
    }
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
        guard pack.isPlausible, Int(exactly: pack.containerSize) != nil else {
            throw CacheError(
                .damaged, "the reference to the pack has lengths out of range", object: pack.key.text,
                remedy: "Run `kaml check`")
        }
        self.pack = pack
        self.context = context
        isSealed = context.sealing != nil
        references = pack.holdsReferences ? ReferenceState(context, pack) : nil
        bitmap = PresenceBitmap(count: Int(pack.chunkCount))
        origins = Monitor(origin)
        if context.hasDisk, files != .none { wake(replacing: files == .replace) }
    }

    /// Whether its files may be asked for: they were closed, or refused long enough ago.
    func mayWake() -> Bool {
        guard !hasDisk, context.hasDisk else { return false }
        return context.clock.monotonicNanoseconds() >= retryTime.load(ordering: .relaxed)
    }

    func postponeWaking(_ nanoseconds: UInt64 = Container.retryPause) {
        retryTime.store(context.clock.monotonicNanoseconds() &+ nanoseconds, ordering: .relaxed)
    }

    var disk: ContainerDisk? { files.withLock { $0 } }

    /// Whether it has its files now. Without them nothing is present.
    package var hasDisk: Bool { isAwake.load(ordering: .acquiring) }

    deinit { if let open = takeFiles() { open.letGo() } }

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

    /// A descriptor of the complete container that cannot write, for the kernel to read from. Valid until as many calls
    /// of `takeBack` as of this one were made; until then the container stays awake and is not evicted.
    /// Throws `unusable` while chunks are missing, when the container has no file, and when it is sealed.
    package func lend() throws(CacheError) -> Int32 {
        let use = ContainerUse(self)
        defer { withExtendedLifetime(use) {} }
        lends.wrappingAdd(1, ordering: .relaxed)
        lentTime.store(context.clock.monotonicNanoseconds(), ordering: .relaxed)
        do throws(CacheError) { return try lentDescriptor() } catch {
            takeBack()
            throw error
        }
    }

    /// One who had the descriptor is done. A call too many, for a file that an earlier process of the agent opened, does
    /// nothing.
    package func takeBack() {
        var count = lends.load(ordering: .relaxed)
        while count > 0 {
            let (isDone, found) = lends.weakCompareExchange(
                expected: count, desired: count - 1, ordering: .relaxed)
            if isDone { return }
            count = found
        }
    }

    private func lentDescriptor() throws(CacheError) -> Int32 {
        let known = lent.load(ordering: .acquiring)
        if known >= 0 { return known }
        guard !isSealed else {
            throw CacheError(
                .unusable, "the container is encrypted", object: pack.key.text,
                remedy: "Read it through the mount")
        }
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
        guard !context.avoidsDisk, context.space.admits(plain.count, self) else {
            context.counters.readThroughs.count()
            return false
        }
        defer { context.space.settle(plain.count, self) }
        do throws(Errno) {
            try unsafe disk.store(chunk, plain, at: offset)
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

    /// Makes everything durable, hashes before the bits that lean on them. Wakes it when its map needs that.
    func close() {
        let sleeps = !hasDisk && needsCleaning.load(ordering: .relaxed)
        if sleeps { wake() }
        if references?.hashes.sync() ?? true { disk?.close(bitmap) }
        if sleeps { detach()?.letGo() }
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
