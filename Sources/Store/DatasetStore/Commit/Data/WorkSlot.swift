import Chunking
import System

/// One chunk of a slot: cut, hashed, looked up and, where the store lacks it, encoded.
struct ChunkDraft {
    enum Content {
        /// Zeros that are not stored.
        case hole
        /// The store or this commit has it, at each of these places.
        case known([ChunkPlace])
        /// To be stored. `payload` is a range of the slot's output, or of its plain bytes for `.none`.
        case new(codec: Codec, payload: Range<Int>, base: BaseCandidate?)
    }

    var hash: ContentHash
    /// In the slot's plain bytes.
    var plain: Range<Int>
    var fileOffset: UInt64
    /// More than `plain.count` for holes, which have no bytes.
    var length: UInt64
    var content: Content
}

/// A small file or symlink of a slot.
struct SmallFileDraft {
    enum Outcome {
        case empty
        /// Index in the slot's chunks.
        case chunk(Int)
        case symlink(ByteString)
        /// Grew or shrank across the limit, or is another object now: to be read again as what it now is.
        case otherSize
        case failed(SourceProblem.Kind)
    }

    var job: ReadJob
    var place: SourcePlace
    var status: FileStatus?
    var attributes: [ExtendedAttribute] = []
    var outcome: Outcome
    var retries = 0
    /// How often it turned out to be of another size than it was when it was claimed.
    var tries = 0
}

/// Which entry of which list of reads is meant.
struct ReadJob {
    var isSmallList: Bool
    var index: Int
    var ordinal: UInt64
}

/// Buffers that go through the pipeline: claimed, filled, encoded, appended in order, and used again.
@safe final class WorkSlot: @unchecked Sendable {
    // Sendable: one thread at a time holds it.

    /// Plain bytes that a slot aims at. Two megabytes keep a core busy for a few milliseconds, so the hand-over
    /// costs nothing, and all slots together stay in some tens of megabytes.
    static let target = 2 << 20

    let plain: UnsafeMutableRawBufferPointer
    let output: UnsafeMutableRawBufferPointer
    var outputUsed = 0
    var chunks: [ChunkDraft] = []
    var files: [SmallFileDraft] = []
    var sequence: UInt64 = 0
    /// Set for a piece of a large file.
    var large: LargeFile?
    var isLastOfFile = false
    /// The piece's place in its file.
    var start: UInt64 = 0
    var length: UInt64 = 0

    /// `margin`: bytes beyond the target that the longest chunk and its look-ahead may take.
    init(margin: Int) {
        unsafe plain = .allocate(byteCount: Self.target + margin, alignment: 4096)
        unsafe output = .allocate(byteCount: Self.target + margin, alignment: 4096)
    }

    deinit {
        unsafe plain.deallocate()
        unsafe output.deallocate()
    }

    func reset() {
        outputUsed = 0
        chunks.removeAll(keepingCapacity: true)
        files.removeAll(keepingCapacity: true)
        large = nil
        isLastOfFile = false
        start = 0
        length = 0
    }

    func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: plain[range])
    }

    /// Keeps a frame that lies in an encoder's buffer. What is stored as it is stays in `plain`.
    func keep(_ frame: EncodedFrame, plain range: Range<Int>) -> ChunkDraft.Content {
        guard frame.codec != .none else { return .new(codec: .none, payload: range, base: nil) }
        // Frames are shorter than their chunks, and the output is as large as the plain bytes.
        let kept = unsafe outputUsed..<(outputUsed + frame.payload.count)
        unsafe UnsafeMutableRawBufferPointer(rebasing: output[kept]).copyMemory(from: frame.payload)
        outputUsed = kept.upperBound
        return .new(codec: frame.codec, payload: kept, base: frame.base)
    }

    func encoded(_ draft: ChunkDraft) -> EncodedChunk? {
        guard case .new(let codec, let payload, let base) = draft.content else { return nil }
        let bytes = unsafe codec == .none ? plain[payload] : output[payload]
        return unsafe EncodedChunk(
            hash: draft.hash, plainLength: draft.plain.count, codec: codec,
            payload: UnsafeRawBufferPointer(rebasing: bytes), base: base.map { ($0.pack, $0.chunk) })
    }
}
