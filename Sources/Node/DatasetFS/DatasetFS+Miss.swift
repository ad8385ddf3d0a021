import DatasetStore
import NodeCache
import System
import Telemetry

/// A run of an answer whose bytes may not be in the cache yet.
enum ReadPiece: Sendable {
    case zeros(Int)
    /// The bytes `range` of a container, out of the chunks of a part.
    case stored(FetchPart, _ range: Range<UInt64>)

    /// Bytes.
    fileprivate var count: Int {
        switch self {
        case .zeros(let count): count
        case .stored(_, let range): Int(range.upperBound - range.lowerBound)
        }
    }
}

extension ReadFailureLabel {
    fileprivate init(_ code: CacheError.Code) {
        switch code {
        case .damaged, .changed: self = .damaged
        case .notFound, .unavailable, .permissionDenied: self = .store
        case .inputOutput, .exhausted: self = .disk
        case .inUse, .unusable, .unsupported, .closed: self = .other
        }
    }
}

/// The slow path of a read: fetch, then answer from whatever thread the bytes arrive on.
extension DatasetFS {
    /// Whether a read begins with its part of the manifest, which then belongs to the read's trace.
    @inline(never)
    func mayReadManifest(_ inode: Inode) -> Bool {
        inode.rawValue > 0 && Trace.current == nil && !snapshot.isLoaded(ofOrdinal: inode.rawValue - 1)
    }

    /// A read under a span from its very start. Misses end it; a hit has it ended here.
    @inline(never)
    func traced(_ read: () -> Void) {
        let span = Trace.root("read", .server)
        Trace.with(span, read)
        if let span, !WaitingReads.hasBegun(span) { span.end() }
    }

    func readMissing(_ place: Snapshot.Place, _ pieces: [ReadPiece], _ completion: ReadCompletion) {
        var parts: [FetchPart] = []
        var wanted = 0
        for piece in pieces {
            wanted += piece.count
            if case .stored(let part, _) = piece { parts.append(part) }
        }
        let ordinal = place.ordinal
        let read = waitingReads.begin(bytes: wanted)
        let fail: @Sendable (CacheError) -> Void = { [self] error in
            // The place is found again: a pointer into the manifest may not cross threads by itself.
            completion.fail(report(error, at: try? snapshot.place(ofOrdinal: ordinal)))
            waitingReads.failed(read, error, ReadFailureLabel(error.code))
        }
        Trace.with(read.span) {
            cache.fetch(parts, isOneOfMany: completion.isOneOfMany) { [self, wanted] outcome in
                switch outcome {
                case .failure(let error): fail(error)
                case .success(let fetched):
                    guard answer(pieces, fetched, completion) else {
                        return fail(
                            CacheError(
                                .damaged, "the pieces of an answer do not fit together",
                                remedy: "Run `kaml check` on the snapshot"))
                    }
                    waitingReads.answered(read, bytes: wanted)
                }
            }
        }
    }

    /// False, and nothing is answered, unless the chunks cover every piece without a gap.
    private func answer(
        _ pieces: [ReadPiece], _ fetched: FetchedParts, _ completion: ReadCompletion
    ) -> Bool {
        var segments: [ReadSegment] = []
        var replied = 0
        var part = 0
        for piece in pieces {
            switch piece {
            case .zeros(let count): unsafe segments.append(ReadSegment(base: zeros.base, length: count))
            case .stored(let source, let range):
                // Most of it comes from the mapping: a fetch has the last chunk alone in memory.
                source.container.touch()
                replied += Int(range.upperBound - range.lowerBound)
                var position = range.lowerBound
                for chunk in fetched.chunks(part: part) {
                    guard let start = fetched.containerOffset(part: part, chunk: chunk) else { return false }
                    let bytes = unsafe fetched.bytes(part: part, chunk: chunk)
                    let from = max(range.lowerBound, start)
                    let to = min(range.upperBound, start + UInt64(bytes.count))
                    guard from == position, from < to, let base = bytes.baseAddress else { return false }
                    position = to
                    unsafe segments.append(
                        ReadSegment(
                            base: UnsafeMutableRawPointer(mutating: base + Int(from - start)),
                            length: Int(to - from)))
                }
                guard position == range.upperBound else { return false }
                part += 1
            }
        }
        unsafe segments.withUnsafeBytes {
            unsafe completion.deliver(
                completion.context, $0.baseAddress, segments.count, ReadCompletion.fetched)
        }
        cache.didReply(replied)
        return true
    }
}
