import Chunking
package import ObjectStore
import System

/// Reads the chunks of reference packs from the foreign objects that have them.
///
/// The source sees to it that the bytes are of the version that was imported. A chunk whose hash is known is checked
/// against that as well.
struct ReferenceReader {
    /// Bytes of one request at most, so that a failing one costs little.
    private static let requestLength: UInt64 = 64 << 20

    let footers: PackFooters

    init(_ footers: PackFooters) { self.footers = footers }

    /// One chunk. `plain` has exactly its length.
    func read(
        _ chunk: UInt32, of pack: PackReference, into plain: UnsafeMutableRawBufferPointer
    ) throws(StoreError) {
        try unsafe read(chunk..<(chunk + 1), of: pack) { _, bytes throws(StoreError) in
            guard bytes.count == plain.count else {
                throw damaged(pack, chunk, "is not as long as a manifest shard says")
            }
            unsafe plain.copyMemory(from: bytes)
        }
    }

    /// A run of neighbouring chunks, each given to `body` when it is whole.
    func read(
        _ chunks: Range<UInt32>, of pack: PackReference,
        _ body: (ChunkEntry, UnsafeRawBufferPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        let image = try footers.image(of: pack)
        defer { withExtendedLifetime(image) {} }
        let footer = image.footer
        guard Int(chunks.upperBound) <= footer.chunkCount, let sources = footer.sources else {
            throw damaged(pack, chunks.lowerBound, "is no reference of the pack")
        }
        let source: any ObjectSource
        do throws(ObjectStoreError) { source = try footers.sources.source(sources.location) } catch {
            throw StoreError(error)
        }
        let longest = chunks.reduce(0) { max($0, Int(footer[Int($1)].plainLength)) }
        var collector = ChunkCollector(longest: longest)
        var next = Int(chunks.lowerBound)
        while next < Int(chunks.upperBound) {
            let run = run(from: next, below: Int(chunks.upperBound), in: footer)
            let object = sources[run.object]
            collector.begin(run.chunks)
            var failure: StoreError?
            do throws(ObjectStoreError) {
                try unsafe source.read(object.key, object.version, run.range) { piece in
                    do throws(StoreError) {
                        try unsafe collector.add(piece, of: footer, body)
                        return true
                    } catch {
                        failure = error
                        return false
                    }
                }
            } catch { throw StoreError(reading: object, in: source, error) }
            if let failure { throw failure }
            guard collector.isAtEnd else {
                throw StoreError(
                    reading: object, in: source,
                    ObjectStoreError(
                        .truncated, .read, key: object.key.description, location: source.location))
            }
            next = run.chunks.upperBound
        }
    }

    private struct Run {
        var object: Int
        var chunks: Range<Int>
        var range: Range<UInt64>
    }

    /// Chunks whose bytes lie one after the other in one object.
    private func run(from first: Int, below end: Int, in footer: PackFooter) -> Run {
        let start = footer[first]
        var range = start.objectRange
        var next = first + 1
        while next < end {
            let entry = footer[next]
            guard entry.object == start.object, entry.frameOffset == range.upperBound,
                entry.objectRange.upperBound - range.lowerBound <= Self.requestLength
            else { break }
            range = range.lowerBound..<entry.objectRange.upperBound
            next += 1
        }
        return Run(object: Int(start.object ?? 0), chunks: first..<next, range: range)
    }

    private func damaged(_ pack: PackReference, _ chunk: UInt32, _ what: String) -> StoreError {
        StoreError(
            .damaged, "chunk \(chunk) of the pack \(what)", object: pack.key.text, remedy: "Run `kaml check`")
    }
}

/// Cuts a stream of an object's bytes into the chunks that a footer lists.
@safe private struct ChunkCollector: ~Copyable {
    private let buffer: UnsafeMutableRawBufferPointer
    private let hasher = ContentHasher()
    private var chunks = 0..<0
    private var filled = 0

    /// `longest`: of the chunks that will come, in bytes.
    init(longest: Int) {
        unsafe buffer = .allocate(byteCount: longest, alignment: 64)
    }

    deinit { unsafe buffer.deallocate() }

    /// Expects the bytes of these chunks next.
    mutating func begin(_ chunks: Range<Int>) {
        self.chunks = chunks
        filled = 0
    }

    var isAtEnd: Bool { chunks.isEmpty }

    mutating func add(
        _ piece: UnsafeRawBufferPointer, of footer: PackFooter,
        _ body: (ChunkEntry, UnsafeRawBufferPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        var taken = 0
        while taken < piece.count {
            guard let chunk = chunks.first else {
                throw StoreError(
                    .damaged, "a source gave more bytes than were asked for", object: footer.pack.key.text,
                    remedy: "Look at the server that has the source, and read again")
            }
            let entry = footer[chunk]
            let count = min(piece.count - taken, Int(entry.plainLength) - filled)
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<(filled + count)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[taken..<(taken + count)]))
            taken += count
            filled += count
            guard filled == Int(entry.plainLength) else { return }
            let plain = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<filled])
            guard unsafe entry.hash == .zero || hasher.hash(.chunk, plain) == entry.hash else {
                throw StoreError(
                    .damaged, "chunk \(chunk) does not match its hash", object: footer.pack.key.text,
                    remedy: "Read again; if it stays so, run `kaml import` again")
            }
            try unsafe body(entry, plain)
            chunks = chunks.dropFirst()
            filled = 0
        }
    }
}

extension StoreError {
    /// An imported object could not be read as what it was.
    package init(
        reading object: ReferencedObject, in source: any ObjectSource, _ error: ObjectStoreError
    ) {
        self.init(error)
        self.object = "\(object.key) in \(source.location)"
        switch error.code {
        case .notFound, .changed, .truncated:
            code = .sourceChanged
            message =
                error.code == .notFound
                ? "the imported object is no longer there"
                : "the imported object is no longer the one that was imported"
            cause = "\(error)"
            remedy =
                "Run `kaml import` again to take it as it is now, or restore version \(object.version.id ?? object.version.tag)"
        default: break
        }
    }
}
