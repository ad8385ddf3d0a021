/// A reader that takes every n-th chunk: two equal steps in a row, and what it will ask for next is fetched, and
/// nothing between.
struct StrideDetector {
    /// The most accesses to be ahead of the reader.
    private static let depthLimit = 16

    private var last: Range<Int>?
    private var step = 0
    private var matches = 0
    /// Steps that are fetched already beyond the last access, and how many to keep there.
    private var issued = 0
    private var depth = 2
    /// Hits in a row that were out of step.
    private var misfits = 0
    /// After so many of them the reader has gone elsewhere.
    private static let patience = 256

    /// Whether steps are being fetched, so that hits should be told.
    var isActive: Bool { issued > 0 }

    /// Notes an access that goes on with no run; returns the chunks to read ahead.
    mutating func access(_ chunks: Range<Int>, isMiss: Bool, chunkCount: Int) -> [Range<Int>] {
        guard let last else {
            if isMiss { self.last = chunks }
            return []
        }
        if !isMiss && (matches < 1 || chunks.lowerBound != last.lowerBound + step) {
            misfits += 1
            if misfits >= Self.patience { (matches, issued, misfits) = (0, 0, 0) }
            return []
        }
        misfits = 0
        let found = chunks.lowerBound - last.lowerBound
        self.last = chunks
        guard found == step, found != 0, abs(found) > chunks.count else {
            (step, matches, issued, depth) = (found, 0, 0, 2)
            return []
        }
        matches += 1
        issued = max(0, issued - 1)
        // A third access in step is the first that is no accident.
        guard issued <= depth / 2 else { return [] }
        var ahead: [Range<Int>] = []
        while issued < depth {
            let first = chunks.lowerBound + step * (issued + 1)
            guard first >= 0, first < chunkCount else { break }
            ahead.append(first..<min(chunkCount, first + chunks.count))
            issued += 1
        }
        depth = min(Self.depthLimit, depth * 2)
        return ahead
    }
}
