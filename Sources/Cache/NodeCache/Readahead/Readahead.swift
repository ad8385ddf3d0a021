import DatasetStore

/// What is worth fetching of one pack before anybody asks, by what was asked for so far.
///
/// Three patterns: runs (a large file, or small files in directory order), strides, and an epoch in random order over
/// small files, which will want the whole pack. Random reads in a large file get nothing, until half of a stretch of 64
/// chunks is there: then the rest of it is likely enough to be wanted too.
struct Readahead {
    struct Order: Hashable {
        var chunks: Range<Int>
        /// Whether it fills a pack rather than runs ahead of a reader.
        var isFilling: Bool
    }

    struct Advice: Hashable {
        var orders: [Order] = []
        var windowAtEnd: Int?
    }

    /// Misses in random order that make a pack of small files worth fetching whole, and the share of its chunks.
    static let fillMisses = 8
    static let fillShare = 64

    private let layout: PackLayout
    private let chunkCount: Int
    private let limits: ReadaheadRuns.Limits
    private var runs: ReadaheadRuns
    private var strides = StrideDetector()
    private var lonelyMisses = 0
    private var isFilling = false
    private var filledWords = Set<Int>()

    init(layout: PackLayout, chunkCount: Int, limits: ReadaheadRuns.Limits) {
        self.layout = layout
        self.chunkCount = chunkCount
        self.limits = limits
        runs = ReadaheadRuns(limits)
    }

    /// Whether hits should be told, too.
    var isActive: Bool { runs.isActive || strides.isActive }

    /// Notes an access. `presentInWord` tells how many of 64 chunks are there or on their way.
    mutating func access(
        _ chunks: Range<Int>, isMiss: Bool, sizes: (some ChunkSizes)?, window: Int? = nil,
        presentInWord: (Int) -> Int
    ) -> Advice {
        let run = runs.access(chunks, isMiss: isMiss, sizes: sizes, window: window)
        var advice = Advice(
            orders: run.ahead.map { Order(chunks: $0, isFilling: false) }, windowAtEnd: run.windowAtEnd)
        if run.continues || window != nil { return advice }
        advice.orders += strides.access(chunks, isMiss: isMiss, chunkCount: chunkCount)
            .map { Order(chunks: $0, isFilling: false) }
        guard isMiss, let sizes else { return advice }
        lonelyMisses += 1
        if let filling = filling(at: chunks.lowerBound, presentInWord) {
            advice.orders += sizes.pieces(filling, limit: limits.piece)
                .map { Order(chunks: $0, isFilling: true) }
        }
        return advice
    }

    /// The pack's footer came after a reader had begun.
    mutating func sizesCame(_ sizes: some ChunkSizes) -> [Order] {
        runs.sizesCame(sizes).map { Order(chunks: $0, isFilling: false) }
    }

    private mutating func filling(at chunk: Int, _ presentInWord: (Int) -> Int) -> Range<Int>? {
        guard !isFilling else { return nil }
        if layout == .slots, lonelyMisses >= max(Self.fillMisses, chunkCount / Self.fillShare) {
            isFilling = true
            return 0..<chunkCount
        }
        let word = chunk >> 6
        let bounds = (word * 64)..<min(chunkCount, word * 64 + 64)
        // At least half of what is fetched was asked for, whatever the reader does next.
        guard bounds.count >= 8, presentInWord(word) * 2 >= bounds.count, filledWords.insert(word).inserted
        else { return nil }
        return bounds
    }
}
