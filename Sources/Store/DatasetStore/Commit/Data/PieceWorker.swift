import Chunking
import Synchronization
import System

/// One thread's tools for the pipeline: hashes a slot's chunks, looks them up, encodes those that are new.
struct PieceWorker: ~Copyable {
    var files: SmallFileReader
    var maker: FrameMaker
    private let hasher = ContentHasher()
    private let pipeline: Pipeline

    /// Chunks without gain after which a large file is taken for compressed, whatever the probe says; every
    /// so often one is tried again.
    private static let patience = 8

    init(_ pipeline: Pipeline) {
        self.pipeline = pipeline
        files = SmallFileReader(
            pipeline.tree, pipeline.comparison.links, pipeline.access,
            wholeLimit: UInt64(pipeline.parameters.wholeLimit))
        maker = FrameMaker(pipeline.options, pipeline.context.footers, bases: pipeline.context.bases)
    }

    mutating func process(_ slot: WorkSlot) throws(StoreError) {
        if let file = slot.large { try processLarge(slot, file) } else { try processSmall(slot) }
    }

    // MARK: - Small files

    private mutating func processSmall(_ slot: WorkSlot) throws(StoreError) {
        for file in slot.files {
            guard case .chunk(let index) = file.outcome else { continue }
            let draft = slot.chunks[index]
            if let place = try pipeline.context.catalog.find(draft.hash, .slots) {
                slot.chunks[index].content = .known([place])
                continue
            }
            let base = try oldChunk(file.job.ordinal)
            let frame = try unsafe maker.make(slot.bytes(draft.plain), base: base, tries: true)
            slot.chunks[index].content = slot.keep(frame, plain: draft.plain)
        }
    }

    /// The chunk of the same path in the parent.
    private func oldChunk(_ ordinal: UInt64) throws(StoreError) -> BaseCandidate? {
        let known = pipeline.comparison.parentOrdinals[Int(ordinal)]
        guard let parent = pipeline.parent, known != Comparison.noParent,
            let found = try parent.place(ofOrdinal: UInt64(known))
        else { return nil }
        let place = try parent.resolve(found)
        guard place.record.kind == .chunk else { return nil }
        let pack = unsafe place.shard.pointee.view.pack(place.record.pack)
        return BaseCandidate(pack: pack, chunk: place.record.chunk)
    }

    // MARK: - Large files

    private mutating func processLarge(_ slot: WorkSlot, _ file: LargeFile) throws(StoreError) {
        if file.hasChanged.load(ordering: .relaxed) { return }
        if slot.chunks.isEmpty, slot.length > 0, !file.readFixed(into: slot) { return }
        for index in slot.chunks.indices where !slot.chunks[index].plain.isEmpty {
            let draft = slot.chunks[index]
            let plain = unsafe slot.bytes(draft.plain)
            if unsafe isZero(plain) {
                slot.chunks[index].plain = 0..<0
                continue
            }
            let hash = unsafe hasher.hash(.chunk, plain)
            slot.chunks[index].hash = hash
            let known = try pipeline.context.catalog.findAll(hash, .file)
            slot.chunks[index].content =
                unsafe known.isEmpty ? try encode(slot, draft, plain, file) : .known(known)
        }
    }

    private mutating func encode(
        _ slot: WorkSlot, _ draft: ChunkDraft, _ plain: UnsafeRawBufferPointer, _ file: LargeFile
    ) throws(StoreError) -> ChunkDraft.Content {
        let unpaid = file.unpaid.load(ordering: .relaxed)
        let tries = unpaid < Self.patience || unpaid.isMultiple(of: Self.patience)
        var similar: BaseCandidate?
        var sameOffset: BaseCandidate?
        if let old = file.old, unsafe CompressionProbe.looksCompressible(plain) {
            similar = try unsafe file.similarity?.find(plain, &maker.reader)
            if similar == nil {
                sameOffset = try old.chunk(over: draft.fileOffset, draft.length, pipeline.context.footers)
            }
        }
        let frame = try unsafe maker.make(plain, base: similar ?? sameOffset, tries: tries)
        if sameOffset != nil { file.similarity?.note(frame, plainCount: plain.count) }
        if frame.codec == .none {
            file.unpaid.wrappingAdd(1, ordering: .relaxed)
        } else {
            file.unpaid.store(0, ordering: .relaxed)
        }
        return slot.keep(frame, plain: draft.plain)
    }
}
