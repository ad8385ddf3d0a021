import Chunking
import ObjectStore
import System

/// A run of a large file's bytes, by the catalog's pack number.
struct ExtentDraft: Sendable {
    static let hole = UInt32.max

    var fileOffset: UInt64
    var length: UInt64
    var pack: UInt32
    var firstChunk: UInt32
    var chunkCount: UInt32
    var containerOffset: UInt64
}

/// What became of a large file.
struct LargeContents: Sendable {
    var hash: ContentHash
    var extents: [ExtentDraft]
}

/// Puts a large file together, chunk by chunk in file order.
///
/// A chunk that the store has is taken from there when the old version of the file has it too, or when it
/// belongs to a run of at least four chunks or one MiB: a file scattered over foreign packs costs each reader a
/// request for every piece.
struct LargeAssembly: ~Copyable {
    private struct Pending {
        var draft: ChunkDraft
        var plain: [UInt8]
    }

    private static let runChunks = 4
    private static let runBytes: UInt64 = 1 << 20

    private let size: UInt64
    private let hasher = FileHasher()
    private var hashedHole: UInt64 = 0
    private(set) var extents: [ExtentDraft] = []
    /// Known chunks in a row, too few to be taken yet, and the places where such a row may end.
    private var pending: [Pending] = []
    private var pendingBytes: UInt64 = 0
    private var pendingEnds: [ChunkPlace] = []
    /// The chunk that would go on with a run that was accepted.
    private var continuation: ChunkPlace?

    private var writer: PackWriter?
    private var own: OwnPack?
    private var ownNumber: UInt32 = 0
    /// Where the pack's container starts in the file: a file beyond 16 GiB takes several packs.
    private var packStart: UInt64 = 0
    /// Packs of this file that are full and under way to the store.
    private var finished: [(own: OwnPack, number: UInt32)] = []

    private(set) var newBytes: UInt64 = 0
    private(set) var prefixFrames: UInt64 = 0

    init(size: UInt64) { self.size = size }

    mutating func append(
        _ draft: ChunkDraft, of slot: WorkSlot, _ file: LargeFile, _ context: StoringContext,
        _ maker: inout FrameMaker
    ) throws(StoreError) {
        switch draft.content {
        case .hole:
            try rejectPending(file, context, &maker)
            hashedHole += draft.length
            addHole(draft)
        case .known(let places):
            hash(draft)
            try take(draft, places, slot, file, context, &maker)
        case .new:
            hash(draft)
            // A file with the same bytes may have ended since the chunk was looked up.
            let places = try context.catalog.findAll(draft.hash, .file)
            if !places.isEmpty { return try take(draft, places, slot, file, context, &maker) }
            try rejectPending(file, context, &maker)
            guard let chunk = slot.encoded(draft) else { return }
            try store(chunk, draft, context)
        }
    }

    /// The file's end: its last pack goes to the publisher.
    mutating func finish(
        _ file: LargeFile, _ context: StoringContext, _ maker: inout FrameMaker
    ) throws(StoreError) -> LargeContents {
        try rejectPending(file, context, &maker)
        hashHole()
        try endPack(context)
        for pack in finished { context.catalog.index(pack.own, number: pack.number) }
        return LargeContents(hash: hasher.finish(), extents: extents)
    }

    mutating func abandon() {
        writer?.abandon()
        writer = nil
    }

    // MARK: - Hash

    private mutating func hash(_ draft: ChunkDraft) {
        hashHole()
        hasher.addChunk(draft.hash, draft.length)
    }

    private mutating func hashHole() {
        if hashedHole > 0 { hasher.addHole(hashedHole) }
        hashedHole = 0
    }

    // MARK: - Known chunks

    private mutating func take(
        _ draft: ChunkDraft, _ places: [ChunkPlace], _ slot: WorkSlot, _ file: LargeFile,
        _ context: StoringContext,
        _ maker: inout FrameMaker
    ) throws(StoreError) {
        if let next = continuation, places.contains(next) { return try accept(draft, next, context) }
        let own = places.first { file.old?.contains($0) ?? false }
        if let place = own ?? (draft.length >= Self.runBytes ? places.first : nil) {
            try rejectPending(file, context, &maker)
            return try accept(draft, place, context)
        }
        var ends = pendingEnds.map(\.next).filter { places.contains($0) }
        if ends.isEmpty {
            try rejectPending(file, context, &maker)
            ends = places
        }
        continuation = nil
        pendingEnds = ends
        unsafe pending.append(Pending(draft: draft, plain: Array(slot.bytes(draft.plain))))
        pendingBytes += draft.length
        guard pending.count >= Self.runChunks || pendingBytes >= Self.runBytes, let end = ends.first else {
            return
        }
        let run = pending
        clearPending()
        for (index, known) in run.enumerated() {
            let back = UInt32(run.count - 1 - index)
            try accept(known.draft, ChunkPlace(pack: end.pack, chunk: end.chunk - back), context)
        }
    }

    private mutating func accept(
        _ draft: ChunkDraft, _ place: ChunkPlace, _ context: StoringContext
    ) throws(StoreError) {
        let entry = try context.catalog.entry(place)
        addExtent(draft, place, containerOffset: entry.containerOffset)
        continuation = place.next
    }

    /// The run at hand is too short: its chunks are stored once more.
    private mutating func rejectPending(
        _ file: LargeFile, _ context: StoringContext, _ maker: inout FrameMaker
    ) throws(StoreError) {
        continuation = nil
        guard !pending.isEmpty else { return }
        let rejected = pending
        clearPending()
        for known in rejected {
            try Self.encode(known.plain, known.draft.hash, &maker) { chunk throws(StoreError) in
                try store(chunk, known.draft, context)
            }
        }
    }

    private mutating func clearPending() {
        pending = []
        pendingBytes = 0
        pendingEnds = []
    }

    private static func encode(
        _ plain: [UInt8], _ hash: ContentHash, _ maker: inout FrameMaker,
        _ body: (EncodedChunk) throws(StoreError) -> Void
    ) throws(StoreError) {
        // Copied out of the array: typed errors do not pass through its closures.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: plain.count, alignment: 64)
        defer { unsafe memory.deallocate() }
        unsafe memory.copyBytes(from: plain)
        let frame = try unsafe maker.make(UnsafeRawBufferPointer(memory), base: nil, tries: true)
        try unsafe body(
            EncodedChunk(hash: hash, plainLength: plain.count, codec: frame.codec, payload: frame.payload))
    }

    // MARK: - New chunks

    private mutating func store(
        _ chunk: EncodedChunk, _ draft: ChunkDraft, _ context: StoringContext
    ) throws(StoreError) {
        if let writer {
            // As many chunks as the format allows: a file in one pack is worth a large footer.
            let isFull =
                draft.fileOffset + draft.length - packStart > PackFormat.limits.containerSize
                || writer.chunkCount == PackFormat.limits.chunkCount
            let hasRoom = chunk.base.map { writer.hasRoom(forBase: $0.pack.id) } ?? true
            if isFull || !hasRoom { try endPack(context) }
        }
        if writer == nil { try beginPack(at: draft.fileOffset, context) }
        guard let writer, let own else { return }
        do throws(ObjectStoreError) {
            let entry = try writer.append(chunk, fileOffset: draft.fileOffset - packStart)
            let place = context.catalog.append(entry, to: own, number: ownNumber, findable: false)
            addExtent(draft, place, containerOffset: entry.containerOffset)
        } catch { throw StoreError(error) }
        newBytes += draft.length
        if chunk.codec == .zstdPrefix { prefixFrames += 1 }
    }

    private mutating func beginPack(at fileOffset: UInt64, _ context: StoringContext) throws(StoreError) {
        // The whole file where it fits, so that its container is the file.
        packStart = finished.isEmpty && size <= PackFormat.limits.containerSize ? 0 : fileOffset
        let own = OwnPack(id: PackID(random: context.random), layout: .file)
        do throws(ObjectStoreError) {
            writer = try PackWriter(id: own.id, layout: .file, in: context.objects)
        } catch { throw StoreError(error) }
        self.own = own
        ownNumber = context.catalog.add(own)
    }

    private mutating func endPack(_ context: StoringContext) throws(StoreError) {
        guard let writer, let own else { return }
        self.writer = nil
        self.own = nil
        finished.append((own, ownNumber))
        try context.publisher.submit(
            writer, own, fileSize: packStart == 0 && size <= PackFormat.limits.containerSize ? size : nil)
    }

    // MARK: - Extents

    private mutating func addHole(_ draft: ChunkDraft) {
        if let last = extents.last, last.pack == ExtentDraft.hole {
            extents[extents.count - 1].length += draft.length
            return
        }
        extents.append(
            ExtentDraft(
                fileOffset: draft.fileOffset, length: draft.length, pack: ExtentDraft.hole, firstChunk: 0,
                chunkCount: 0, containerOffset: 0))
    }

    private mutating func addExtent(_ draft: ChunkDraft, _ place: ChunkPlace, containerOffset: UInt64) {
        if let last = extents.last, last.pack == place.pack, last.firstChunk + last.chunkCount == place.chunk,
            last.containerOffset + last.length == containerOffset
        {
            extents[extents.count - 1].length += draft.length
            extents[extents.count - 1].chunkCount += 1
            return
        }
        extents.append(
            ExtentDraft(
                fileOffset: draft.fileOffset, length: draft.length, pack: place.pack, firstChunk: place.chunk,
                chunkCount: 1, containerOffset: containerOffset))
    }
}
