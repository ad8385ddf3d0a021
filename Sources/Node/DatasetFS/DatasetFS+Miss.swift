import DatasetStore
import NodeCache
import System

/// A run of an answer whose bytes may not be in the cache yet.
enum ReadPiece: Sendable {
    case zeros(Int)
    /// The bytes `range` of a container, out of the chunks of a part.
    case stored(FetchPart, _ range: Range<UInt64>)
}

/// The slow path of a read: fetch, then answer from whatever thread the bytes arrive on.
extension DatasetFS {
    func readMissing(_ place: Snapshot.Place, _ pieces: [ReadPiece], _ completion: ReadCompletion) {
        var parts: [FetchPart] = []
        for case .stored(let part, _) in pieces { parts.append(part) }
        let ordinal = place.ordinal
        cache.fetch(parts) { [self] outcome in
            switch outcome {
            case .failure(let error):
                // The place is found again: a pointer into the manifest may not cross threads by itself.
                completion.fail(report(error, at: try? snapshot.place(ofOrdinal: ordinal)))
            case .success(let fetched):
                guard answer(pieces, fetched, completion) else {
                    let error = CacheError(
                        .damaged, "the pieces of an answer do not fit together",
                        remedy: "Run `kaml check` on the snapshot")
                    return completion.fail(report(error, at: try? snapshot.place(ofOrdinal: ordinal)))
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
            unsafe completion.deliver(completion.context, $0.baseAddress, segments.count, 0)
        }
        cache.didReply(replied)
        return true
    }
}
