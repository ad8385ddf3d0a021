/// Readers that move forward or backward through a pack, told from those that jump by where they read.
///
/// A run is a stretch of chunks that were asked for one next to the other, in any order: threads that share a file, and
/// the kernel's own parallel reads, come out of order. Each side of a run that grows is read ahead of, as far as the
/// reader has come, so that never much more than twice of what it wants is fetched.
struct ReadaheadRuns {
    /// Stored bytes that are read ahead of a reader at first and at most, and of one piece.
    struct Limits: Hashable {
        var first = 1 << 20
        var window = 64 << 20
        /// With the headers of eight plain mebibytes.
        var piece = (8 << 20) + 4096
    }

    private struct Run {
        /// Chunks that were asked for, and around them those that are read ahead.
        var asked: Range<Int>
        var issued: Range<Int>
        /// Stored bytes to be ahead of the reader.
        var window: Int
        var lastUse: UInt64
        /// When it was last asked for more than before.
        var lastGrowth: UInt64
    }

    /// Enough for threads at several places of one file, and for those of their reads that come out of order.
    private static let capacity = 16
    /// After so many accesses that did not make it grow a run is over: its reader has gone elsewhere.
    private static let patience: UInt64 = 256
    private var runs: [Run] = []
    private var uses: UInt64 = 0
    private let limits: Limits

    init(_ limits: Limits) { self.limits = limits }

    /// What an access means.
    struct Advice: Hashable {
        /// Whether it goes on with a run.
        var continues = false
        /// Chunks to read ahead, the most urgent first.
        var ahead: [Range<Int>] = []
        /// The window of a run that has come to the pack's end.
        var windowAtEnd: Int?
    }

    /// Notes that a reader asks for `chunks`. A hit moves the run that it belongs to and begins none. Without `sizes`
    /// nothing is read ahead yet. `window` is what a reader brings along that comes from the end of another pack.
    mutating func access(
        _ chunks: Range<Int>, isMiss: Bool, sizes: (some ChunkSizes)?, window: Int? = nil
    ) -> Advice {
        uses &+= 1
        guard let index = join(chunks) else {
            if isMiss {
                insert(
                    Run(asked: chunks, issued: chunks, window: window ?? 0, lastUse: uses, lastGrowth: uses))
                if window != nil, let last = runs.indices.last { return advance(last, up: true, sizes) }
            }
            return Advice()
        }
        let before = runs[index].asked
        let (up, down) = (chunks.upperBound > before.upperBound, chunks.lowerBound < before.lowerBound)
        runs[index].asked =
            min(before.lowerBound, chunks.lowerBound)..<max(before.upperBound, chunks.upperBound)
        runs[index].issued =
            min(
                runs[index].issued.lowerBound, chunks.lowerBound)..<max(
                runs[index].issued.upperBound, chunks.upperBound)
        runs[index].lastUse = uses
        if up || down { runs[index].lastGrowth = uses }
        guard up != down else { return Advice(continues: true) }
        return advance(index, up: up, sizes)
    }

    /// The sizes are known at last: what readers that brought a window along are to be read ahead of.
    mutating func sizesCame(_ sizes: some ChunkSizes) -> [Range<Int>] {
        var ahead: [Range<Int>] = []
        for index in runs.indices where runs[index].window > 0 && runs[index].issued == runs[index].asked {
            ahead += advance(index, up: true, sizes).ahead
        }
        return ahead
    }

    /// Whether anything is being read ahead, so that hits should be told.
    var isActive: Bool { runs.contains { $0.window > 0 && uses &- $0.lastGrowth < Self.patience } }

    /// The run that the chunks touch; others that they join it with are taken in.
    private mutating func join(_ chunks: Range<Int>) -> Int? {
        func touches(_ run: Run) -> Bool {
            chunks.lowerBound <= run.issued.upperBound && chunks.upperBound >= run.issued.lowerBound
        }
        guard let first = runs.firstIndex(where: touches) else { return nil }
        while let other = runs.indices.last(where: { $0 != first && touches(runs[$0]) }) {
            let (one, two) = (runs[first], runs[other])
            runs[first] = Run(
                asked: min(
                    one.asked.lowerBound, two.asked.lowerBound)..<max(
                        one.asked.upperBound, two.asked.upperBound),
                issued: min(
                    one.issued.lowerBound, two.issued.lowerBound)..<max(
                        one.issued.upperBound, two.issued.upperBound),
                window: max(one.window, two.window), lastUse: uses,
                lastGrowth: max(one.lastGrowth, two.lastGrowth))
            runs.remove(at: other)
            if other < first { return first - 1 }
        }
        return first
    }

    private mutating func insert(_ run: Run) {
        if runs.count == Self.capacity,
            let oldest = runs.indices.min(by: { runs[$0].lastUse < runs[$1].lastUse })
        {
            runs.remove(at: oldest)
        }
        runs.append(run)
    }

    private mutating func advance(_ index: Int, up: Bool, _ sizes: (some ChunkSizes)?) -> Advice {
        var advice = Advice(continues: true)
        guard let sizes else { return advice }
        var run = runs[index]
        let left =
            up
            ? sizes.bytes(run.asked.upperBound..<max(run.asked.upperBound, run.issued.upperBound))
            : sizes.bytes(min(run.issued.lowerBound, run.asked.lowerBound)..<run.asked.lowerBound)
        let isAtEnd = up ? run.issued.upperBound >= sizes.chunkCount : run.issued.lowerBound <= 0
        if isAtEnd {
            if up, run.window > 0 { advice.windowAtEnd = run.window }
            return advice
        }
        // As far ahead as the reader has come.
        let window = min(limits.window, max(run.window, limits.first, sizes.bytes(run.asked)))
        // Not for every chunk: a piece at a time, or half a window while that is smaller.
        if left > window - min(limits.piece, window / 2) { return advice }
        run.window = window
        if up {
            let end = min(sizes.chunkCount, sizes.end(from: run.asked.upperBound, bytes: run.window))
            if end > run.issued.upperBound {
                advice.ahead = sizes.pieces(run.issued.upperBound..<end, limit: limits.piece)
                // A short end would be a request of its own: it comes with the next piece.
                if advice.ahead.count > 1, end < sizes.chunkCount, let last = advice.ahead.last,
                    sizes.bytes(last) < limits.piece / 2
                {
                    advice.ahead.removeLast()
                }
                run.issued = run.issued.lowerBound..<(advice.ahead.last?.upperBound ?? end)
            }
            if end == sizes.chunkCount { advice.windowAtEnd = run.window }
        } else {
            let begin = sizes.begin(to: run.asked.lowerBound, bytes: run.window)
            if begin < run.issued.lowerBound {
                // Small ones: what a backward reader wants next comes last in each.
                advice.ahead = sizes.pieces(begin..<run.issued.lowerBound, limit: limits.piece / 4).reversed()
                run.issued = begin..<run.issued.upperBound
            }
        }
        runs[index] = run
        return advice
    }
}
