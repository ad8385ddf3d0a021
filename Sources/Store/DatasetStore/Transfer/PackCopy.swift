import Chunking
import ObjectStore
import Synchronization

/// Copies packs, every chunk decoded and hashed on the way.
///
/// Window by window, read whole before it is checked and appended: a request to one store never waits inside one to
/// the other, so two stores behind one client cannot wait for each other.
struct PackCopy: Sendable {
    let footers: PackFooters
    let target: any ObjectStore
    let progress: WorkCounter
    /// Packs that lie in the target, where bases may be nearer.
    let arrived: ArrivedPacks
    /// Decoded bases that frames of all threads need.
    private let bases: PlainChunkCache
    private static let basesPerThread = 16 << 20

    init(
        from footers: PackFooters, to target: any ObjectStore, arrived: ArrivedPacks, threads: Int,
        progress: WorkCounter
    ) {
        self.footers = footers
        self.target = target
        self.arrived = arrived
        self.progress = progress
        bases = PlainChunkCache(capacity: threads * Self.basesPerThread)
    }

    /// Copies packs in their order, several at once: what needs bases comes after them. Of many errors the first pack's
    /// is thrown, since those that lean on it fail with it; no pack that is damaged is published.
    func run(_ packs: [PackReference], threads: Int) throws(StoreError) {
        let next = Atomic<Int>(0)
        let failure = Mutex<(pack: Int, error: StoreError)?>(nil)
        let workers = WorkerThreads(Swift.min(threads, Swift.max(1, packs.count)), "kaml-copy") {
            let checker = FrameChecker(footers, bases: bases)
            while failure.withLock({ $0 == nil }) {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < packs.count else { return }
                do throws(StoreError) {
                    guard
                        try copy(
                            packs[index], checker,
                            isCancelled: { failure.withLock { $0.map { $0.pack < index } ?? false } })
                    else { return }
                    arrived.insert(packs[index].id)
                    progress.add(items: 1)
                } catch {
                    failure.withLock { first in
                        if first.map({ index < $0.pack }) ?? true { first = (index, error) }
                    }
                }
            }
        }
        workers.join()
        if let error = failure.withLock({ $0?.error }) { throw error }
    }

    /// Whether it was copied: it is not once it is cancelled.
    private func copy(
        _ pack: PackReference, _ checker: FrameChecker, isCancelled: () -> Bool
    ) throws(StoreError) -> Bool {
        let image: PackFooterImage
        do throws(StoreError) { image = try footers.image(of: pack) } catch { throw error.ofPromised }
        let writer: any ObjectWriter
        do throws(ObjectStoreError) { writer = try target.makeWriter(pack.key) } catch {
            throw StoreError(writing: pack, error)
        }
        var isPublished = false
        defer { if !isPublished { writer.abandon() } }
        for window in windows(of: image.footer) {
            // The error of a pack before this one ends it all.
            if isCancelled() { return false }
            try fill(checker, window, image.footer)
            do throws(ObjectStoreError) { try unsafe writer.append(checker.windowBytes) } catch {
                throw StoreError(writing: pack, error)
            }
            progress.add(bytes: window.bytes.upperBound - window.bytes.lowerBound)
        }
        do throws(ObjectStoreError) {
            try unsafe writer.append(image.raw)
            isPublished = true
            if try writer.publish() == .exists { try checkTwin(pack) }
        } catch { throw StoreError(writing: pack, error) }
        progress.add(bytes: UInt64(pack.footerLength))
        return true
    }

    private func windows(of footer: PackFooter) -> CopyWindows {
        let footers = footers
        return CopyWindows(
            // A reference pack has no frames: its footer says it all.
            frameCount: footer.sources == nil ? footer.chunkCount : 0,
            end: footer.pack.objectSize - UInt64(footer.pack.footerLength),
            frame: { footer[$0].frame },
            baseBytes: { index in
                guard let base = footer[index].base, let pack = footer.basePack(base.pack),
                    let image = try? footers.image(of: pack), Int(base.chunk) < image.footer.chunkCount
                else { return 0 }
                return Int(image.footer[Int(base.chunk)].plainLength)
            })
    }

    /// Reads a window and checks it; once more when it is not right, since bytes may be hurt on the way.
    private func fill(
        _ checker: FrameChecker, _ window: CopyWindows.Window, _ footer: PackFooter
    ) throws(StoreError) {
        checker.loadBases(of: window.frames, in: footer) { arrived.nearest($0.id, footers.store, target) }
        var problem: StoreError?
        for _ in 0..<2 {
            problem = try self.problem(checker, window, footer)
            if problem == nil { return }
        }
        if let problem { throw problem }
    }

    private func problem(
        _ checker: FrameChecker, _ window: CopyWindows.Window, _ footer: PackFooter
    ) throws(StoreError) -> StoreError? {
        let pack = footer.pack
        func damaged(_ what: String) -> StoreError {
            StoreError(
                .damaged, "the pack cannot be copied: \(what)", object: pack.key.text,
                remedy:
                    "Run `kaml check --read-data` on \(footers.store.location), and restore the pack from a copy"
            )
        }
        do throws(ObjectStoreError) { try checker.read(pack, window.bytes, from: footers.store) } catch {
            guard error.code == .truncated else { throw StoreError(reading: pack, error).ofPromised }
            return damaged("it ends early")
        }
        if window.bytes.lowerBound == 0 {
            let header = PackFormat.header(of: pack.id)
            guard unsafe checker.windowBytes.prefix(header.count).elementsEqual(header) else {
                return damaged("its header is damaged")
            }
        }
        for index in window.frames {
            let start = window.bytes.lowerBound
            if let problem = try checker.problem(of: index, in: footer, windowStart: start) {
                return damaged("chunk \(index) \(problem)")
            }
        }
        return nil
    }

    /// Somebody else published the pack meanwhile.
    private func checkTwin(_ pack: PackReference) throws(ObjectStoreError) {
        guard try target.size(of: pack.key) == pack.objectSize else {
            throw ObjectStoreError(.corrupt, .publish, key: pack.key.text, location: target.location)
        }
        try target.makeDurable(pack.key)
    }
}

extension StoreError {
    /// The target did not take a pack.
    init(writing pack: PackReference, _ error: ObjectStoreError) {
        self.init(error)
        object = pack.key.text
    }
}

/// The packs that the target of a transfer has, while it grows.
final class ArrivedPacks: Sendable {
    private let packs: Mutex<Set<PackID>>
    private let prefersTarget: Bool

    /// `prefersTarget`: what both stores have is read from the target.
    init(_ packs: Set<PackID>, prefersTarget: Bool) {
        self.packs = Mutex(packs)
        self.prefersTarget = prefersTarget
    }

    func insert(_ pack: PackID) { packs.withLock { _ = $0.insert(pack) } }

    func nearest(_ pack: PackID, _ source: any ObjectStore, _ target: any ObjectStore) -> any ObjectStore {
        prefersTarget && packs.withLock({ $0.contains(pack) }) ? target : source
    }
}
