import Chunking
import DatasetStore
import ObjectStore
import System

/// What a container of a reference pack knows beyond its bits: hashes that were found out, and objects that have changed.
final class ReferenceState: Sendable {
    let hashes: ReferenceHashes
    private let context: CacheContext
    private let changed = Monitor<[UInt32: (error: CacheError, until: UInt64)]>([:])

    /// For so long a changed object is not asked for again, in nanoseconds: each of its chunks would be.
    private static let memory: UInt64 = 5_000_000_000
    private static let memoryLimit = 1024

    init(_ context: CacheContext, _ pack: PackReference) {
        self.context = context
        hashes = ReferenceHashes(context, pack)
    }

    /// The error that a moment ago told that the object has changed.
    func recentChange(_ object: UInt32) -> CacheError? {
        changed.withLock { changed in
            guard let known = changed[object] else { return nil }
            if context.clock.monotonicNanoseconds() < known.until { return known.error }
            changed[object] = nil
            return nil
        }
    }

    func noteChange(_ object: UInt32, _ error: CacheError) {
        let until = context.clock.monotonicNanoseconds() &+ Self.memory
        changed.withLock { changed in
            if changed.count >= Self.memoryLimit { changed = [:] }
            changed[object] = (error, until)
        }
    }
}

extension CacheError {
    /// An imported object gives other bytes than it did, or than its tag says, under the same version.
    static func otherBytes(
        _ what: String, _ object: ReferencedObject, at location: String, chunk: Int
    ) -> CacheError {
        CacheError(
            .changed, "the imported object \(what)", object: "\(object.key) in \(location)", chunk: chunk,
            remedy:
                "Find out who changes objects in place, then run `kaml import` again; if the first read was "
                + "the wrong one, `kaml warm DATASET --evict --forget` drops what it found out")
    }
}

extension FetchRun {
    /// Hands over bytes of a foreign object, all of the same version as was imported.
    func readObject(
        _ index: UInt32, _ range: Range<UInt64>, _ body: (UnsafeRawBufferPointer) -> Bool
    ) throws(CacheError) {
        guard let table = try container.footer().sources, Int(index) < table.count,
            let state = container.references
        else {
            throw CacheError.contradiction(container.pack, 0, "names no object")
        }
        if let error = state.recentChange(index) { throw error }
        let object = table[Int(index)]
        let source: any ObjectSource
        do throws(ObjectStoreError) {
            source =
                if let origin = container.origin {
                    try context.sources.source(table.location, namedIn: origin)
                } else {
                    try context.sources.source(table.location)
                }
        } catch {
            throw CacheError(error)
        }
        let outcome = Result { () throws(ObjectStoreError) in
            try SlowWait.during { () throws(ObjectStoreError) in
                try unsafe source.read(object.key, object.version, range) { piece in unsafe body(piece) }
            }
        }
        guard case .failure(let error) = outcome else { return }
        let failure = CacheError(StoreError(reading: object, in: source, error))
        if failure.code == .changed { state.noteChange(index, failure) }
        throw failure
    }

    /// The object that a reference's bytes lie in.
    func object(of claim: FetchClaim) -> (object: ReferencedObject, location: String)? {
        guard let index = claim.entry.object, let table = container.localFooter()?.sources,
            Int(index) < table.count
        else { return nil }
        return (table[Int(index)], table.location)
    }

    /// What is to be compared with a reference's bytes: only the tag of an object that is one chunk, at its first read.
    func tag(of claim: FetchClaim) -> ObjectTag? {
        guard claim.entry.codec == .reference, container.expectedHash(claim.chunk, claim.entry) == nil,
            let (object, _) = object(of: claim), object.size == UInt64(claim.entry.plainLength)
        else { return nil }
        return ObjectTag(object.version.tag)
    }

    /// Whether bytes are what their object's tag says; true when that says nothing.
    func agreesWithTag(_ claim: FetchClaim, _ plain: UnsafeRawBufferPointer) -> Bool {
        guard let tag = tag(of: claim) else { return true }
        return unsafe tag.matches(plain)
    }

    /// A reference's bytes that were read again since they differ from their tag or from what they were: right when they
    /// are what they must be, or when the tag alone speaks against them twice in the same way.
    func settleAgain(
        _ claim: FetchClaim, _ plain: UnsafeRawBufferPointer, before: ContentHash?, _ buffers: FetchBuffers
    ) throws(CacheError) {
        guard let references = container.references, let (object, location) = object(of: claim) else {
            throw contradiction(claim)
        }
        let hash = unsafe buffers.hasher.hash(.chunk, plain)
        if let known = references.hashes.known(claim.chunk) {
            guard known == hash else {
                context.counters.failedChunks.count()
                throw .otherBytes(
                    "gives other bytes than it did, under the same version", object, at: location,
                    chunk: claim.chunk)
            }
            return
        }
        guard unsafe before == nil || before == hash || agreesWithTag(claim, plain) else {
            context.counters.failedChunks.count()
            throw .otherBytes(
                "gives other bytes at each read, and none that its tag stands for", object, at: location,
                chunk: claim.chunk)
        }
    }
}
