/// Cuts a pack into the runs of bytes in which it is copied: whole frames, each in exactly one window, and every byte
/// from the start to the footer in one. Gaps between frames, which no writer leaves but a reader must take, get
/// windows of their own.
package struct CopyWindows: Sequence, IteratorProtocol {
    package struct Window: Hashable {
        package var bytes: Range<UInt64>
        /// The frames that lie in it whole.
        package var frames: Range<Int>
    }

    /// Bytes of a window, unless one frame alone has more.
    static let limit: UInt64 = 8 << 20

    private let frameCount: Int
    private let end: UInt64
    private let frame: (Int) -> Range<UInt64>
    /// Plain bytes of the base that a frame needs in memory.
    private let baseBytes: (Int) -> Int
    private let baseLimit: Int
    private var position: UInt64 = 0
    private var frameIndex = 0

    /// `end` is where the footer starts; frames rise, do not overlap and end before it.
    package init(
        frameCount: Int, end: UInt64, baseLimit: Int = 8 << 20, frame: @escaping (Int) -> Range<UInt64>,
        baseBytes: @escaping (Int) -> Int
    ) {
        self.frameCount = frameCount
        self.end = end
        self.baseLimit = baseLimit
        self.frame = frame
        self.baseBytes = baseBytes
    }

    package mutating func next() -> Window? {
        guard position < end else { return nil }
        let start = position
        let gapEnd = frameIndex < frameCount ? frame(frameIndex).lowerBound : end
        // A pack's header, and what a writer might leave to align a frame, goes with the frame after it.
        if frameIndex == frameCount || gapEnd - start > Self.limit / 2 {
            position = Swift.min(gapEnd, start + Self.limit)
            return Window(bytes: start..<position, frames: frameIndex..<frameIndex)
        }
        let first = frameIndex
        var bases = 0
        while frameIndex < frameCount {
            let bytes = frame(frameIndex)
            bases += baseBytes(frameIndex)
            let isFirst = frameIndex == first
            if !isFirst, bytes.upperBound - start > Self.limit || bases > baseLimit { break }
            position = bytes.upperBound
            frameIndex += 1
        }
        return Window(bytes: start..<position, frames: first..<frameIndex)
    }
}
