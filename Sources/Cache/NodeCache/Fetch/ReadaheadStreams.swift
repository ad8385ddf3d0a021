/// Tells readers that run forward through a container from those that jump, by their misses alone.
///
/// A few streams, so that threads at several places of one large file each keep theirs.
struct ReadaheadStreams {
    private struct Stream {
        /// The chunk after the last one that was asked for or read ahead.
        var next: Int
        /// Bytes read ahead last time.
        var window: Int
        var lastUse: UInt64
    }

    private static let limit = 8
    private var streams: [Stream] = []
    private var uses: UInt64 = 0

    /// Notes that `chunks` of `bytes` stored bytes have to be fetched; returns the stored bytes to read ahead
    /// after them. A first miss gets nothing. Each further one that goes on where the last ended doubles the
    /// window, so that no more is ever read ahead than the reader has shown to want.
    mutating func miss(_ chunks: Range<Int>, bytes: Int, limit: Int) -> Int {
        uses &+= 1
        if let index = streams.firstIndex(where: { $0.next == chunks.lowerBound }) {
            let window = min(max(bytes, streams[index].window * 2), max(0, limit))
            streams[index] = Stream(next: chunks.upperBound, window: window, lastUse: uses)
            return window
        }
        let stream = Stream(next: chunks.upperBound, window: 0, lastUse: uses)
        if streams.count < Self.limit {
            streams.append(stream)
        } else if let oldest = streams.indices.min(by: { streams[$0].lastUse < streams[$1].lastUse }) {
            streams[oldest] = stream
        }
        return 0
    }

    /// The chunks from `end` to `newEnd` were taken in as well.
    mutating func extended(from end: Int, to newEnd: Int) {
        guard newEnd > end, let index = streams.firstIndex(where: { $0.next == end }) else { return }
        streams[index].next = newEnd
    }
}
