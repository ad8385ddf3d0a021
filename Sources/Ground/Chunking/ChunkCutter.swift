/// Cuts one file into chunks, front to back.
///
/// A pure state machine: it sees bytes and returns lengths. Any bytes can be cut by any kind; nothing fails.
/// The cuts depend on the kind, the parameters, the file's size and the bytes, never on the buffers handed in.
///
///     var cutter = ChunkCutter(.cdc, .standard, fileSize: size)
///     while let length = cutter.nextCut(in: unconsumed, isEnd: readEverything) { … drop `length` bytes … }
package struct ChunkCutter: Sendable {
    private var method: Method

    private enum Method {
        case equal(size: Int)
        case cdc(CDC)
        case record(RecordCutter)
    }

    /// The bytes that `nextCut` needs before it decides, unless the file ends sooner; at least the longest
    /// chunk that it can return. WHOLE and FIXED need one chunk, CDC its maximum, RECORD its maximum and the
    /// next record's header.
    package let lookahead: Int

    /// - Parameter fileSize: bytes of the file. Only RECORD uses it, to know a record that the file cuts short;
    ///   a size that is wrong changes cuts and breaks nothing.
    package init(_ kind: ChunkerKind, _ parameters: ChunkingParameters, fileSize: UInt64) {
        let cdc = CDC(parameters.cdc)
        switch kind {
        case .whole:
            // A file that grew beyond the limit since it was classified is cut at the limit.
            method = .equal(size: parameters.wholeLimit)
            lookahead = parameters.wholeLimit
        case .fixed:
            method = .equal(size: parameters.fixedSize)
            lookahead = parameters.fixedSize
        case .cdc:
            method = .cdc(cdc)
            lookahead = parameters.cdc.maximum
        case .record:
            method = .record(RecordCutter(parameters.record, fallback: cdc, fileSize: fileSize))
            lookahead = Swift.max(RecordCutter.lookahead(parameters.record), parameters.cdc.maximum)
        }
    }

    /// The length of the chunk that starts at `buffer[0]`, between 1 and `buffer.count`, or nil when there is
    /// no byte, or when `buffer` is shorter than `lookahead` and the file does not end with it.
    ///
    /// A returned chunk counts as consumed: the next call's buffer starts right after it.
    package mutating func nextCut(in buffer: UnsafeRawBufferPointer, isEnd: Bool) -> Int? {
        guard unsafe !buffer.isEmpty, isEnd || buffer.count >= lookahead else { return nil }
        switch method {
        case .equal(let size):
            return Swift.min(size, buffer.count)
        case .cdc(let cdc):
            return unsafe cdc.firstCut(in: buffer)
        case .record(var cutter):
            let cut = unsafe cutter.nextCut(in: buffer)
            method = .record(cutter)
            return cut
        }
    }
}
