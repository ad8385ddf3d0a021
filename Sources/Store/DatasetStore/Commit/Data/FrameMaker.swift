import Chunking
import System

/// A chunk that may serve as another one's base.
struct BaseCandidate {
    var pack: PackReference
    var chunk: UInt32
}

/// A chunk's payload as it will be stored.
@safe struct EncodedFrame {
    var codec: Codec
    /// Valid until the maker's next call; of `.none` the plain bytes themselves.
    var payload: UnsafeRawBufferPointer
    var base: BaseCandidate?
}

/// Chooses how a chunk is stored: as it is, compressed, or as a difference from an older chunk. One a thread.
struct FrameMaker: ~Copyable {
    private var encoder: FrameEncoder
    private var prefixEncoder: FrameEncoder
    private let decoder = FrameDecoder()
    private let verifies: Bool
    var reader: ChunkReader

    /// Compressing must save a thirty-second, else a reader decodes for nothing.
    private static func pays(_ stored: Int, _ plain: Int) -> Bool { stored <= plain - max(16, plain / 32) }

    init(_ options: CommitOptions, _ footers: PackFooters, bases: PlainChunkCache) {
        encoder = FrameEncoder(level: options.level)
        prefixEncoder = FrameEncoder(level: options.level, prefixLevel: options.prefixLevel)
        verifies = options.verifiesFrames
        reader = ChunkReader(footers, bases: bases)
    }

    /// `base` is an older chunk that may resemble this one. `tries` is false for files whose last chunks did not
    /// compress: then compressing alone is tried only where a difference was won, to compare with.
    mutating func make(
        _ plain: UnsafeRawBufferPointer, base: BaseCandidate?, tries: Bool
    ) throws(StoreError) -> EncodedFrame {
        let stored = unsafe EncodedFrame(codec: .none, payload: plain, base: nil)
        // Too short for a difference or zstd to win anything over their own overhead.
        guard plain.count >= 48 else { return stored }
        var best: (frame: UnsafeRawBufferPointer, base: BaseCandidate)?
        if let base, let found = try self.base(base),
            let difference = try unsafe self.difference(plain, found.bytes)
        {
            unsafe best = unsafe (difference, found.place)
        }
        if let best = unsafe best, unsafe best.frame.count <= plain.count / 16 {
            // No plain compression comes near: it need not be tried.
            return unsafe EncodedFrame(codec: .zstdPrefix, payload: best.frame, base: best.base)
        }
        guard unsafe best != nil || (tries && CompressionProbe.looksCompressible(plain)) else {
            return stored
        }
        let alone = unsafe encoder.compress(plain)
        let aloneCount =
            unsafe alone.map { Self.pays($0.count, plain.count) ? $0.count : plain.count } ?? plain.count
        // A difference costs a reader who has nothing the base as well.
        if let best = unsafe best, unsafe best.frame.count * 4 < aloneCount * 3 {
            return unsafe EncodedFrame(codec: .zstdPrefix, payload: best.frame, base: best.base)
        }
        guard let alone = unsafe alone, aloneCount < plain.count else { return stored }
        if verifies { try unsafe verify(plain, alone, .zstd, nil) }
        return unsafe EncodedFrame(codec: .zstd, payload: alone, base: nil)
    }

    private mutating func difference(
        _ plain: UnsafeRawBufferPointer, _ base: PlainChunk
    ) throws(StoreError) -> UnsafeRawBufferPointer? {
        guard let difference = unsafe prefixEncoder.compress(plain, prefix: base.bytes) else { return nil }
        if verifies { try unsafe verify(plain, difference, .zstdPrefix, base.bytes) }
        return unsafe difference
    }

    /// The chunk itself, or its own base: a base needs none.
    private mutating func base(
        _ candidate: BaseCandidate
    ) throws(StoreError) -> (bytes: PlainChunk, place: BaseCandidate)? {
        // A base must stay what it is; a foreign object may change.
        if candidate.pack.holdsReferences { return nil }
        do throws(StoreError) {
            let found = try reader.footers.with(candidate.pack) { footer -> BaseCandidate? in
                guard Int(candidate.chunk) < footer.chunkCount else { return nil }
                guard let base = footer[Int(candidate.chunk)].base else { return candidate }
                return footer.basePack(base.pack).map { BaseCandidate(pack: $0, chunk: base.chunk) }
            }
            guard let place = found else { return nil }
            return (try reader.plain(place.pack, place.chunk), place)
        } catch {
            // Without its base the chunk is stored whole; `kaml check` is there to report the damage.
            guard error.code == .damaged || error.code == .notFound else { throw error }
            return nil
        }
    }

    private func verify(
        _ plain: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer, _ codec: Codec,
        _ base: UnsafeRawBufferPointer?
    ) throws(StoreError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: plain.count, alignment: 64)
        defer { unsafe copy.deallocate() }
        do throws(CodecError) {
            try unsafe decoder.decode(codec, payload, prefix: base, into: copy)
        } catch {
            throw StoreError(
                .inputOutput, "a compressed chunk cannot be read back", cause: error,
                remedy: Self.memoryRemedy)
        }
        guard unsafe copy.elementsEqual(plain) else {
            throw StoreError(
                .inputOutput, "a compressed chunk reads back different", remedy: Self.memoryRemedy)
        }
    }

    private static let memoryRemedy = "Check this machine's memory"
}
