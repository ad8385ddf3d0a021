/// Cuts frames out of a stream of pieces of any size, without a copy: where each byte belongs, and no more.
struct FrameCutter {
    /// A run of one frame's bytes.
    @safe struct Fragment {
        /// Which frame, and where in it the bytes lie.
        let frame: Int
        let offset: Int
        let bytes: UnsafeRawBufferPointer
        /// Whether they end the frame.
        let isLast: Bool
    }

    /// Object bytes of the frames, in rising order without overlap.
    private let frames: [Range<UInt64>]
    /// The object's byte that comes next, and the frame that it belongs to or lies before.
    private var position: UInt64
    private var current = 0

    init(frames: [Range<UInt64>], from position: UInt64) {
        self.frames = frames
        self.position = position
    }

    /// Frames that have come whole.
    var finished: Int { current }

    /// Hands over what a piece brings of each frame, in order. Bytes between frames are dropped.
    mutating func cut(_ piece: UnsafeRawBufferPointer, _ body: (Fragment) -> Void) {
        var taken = 0
        while taken < piece.count, current < frames.count {
            let frame = frames[current]
            if position < frame.lowerBound {
                let skipped = min(UInt64(piece.count - taken), frame.lowerBound - position)
                taken += Int(skipped)
                position += skipped
                continue
            }
            let count = Int(min(UInt64(piece.count - taken), frame.upperBound - position))
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: piece[taken..<(taken + count)])
            let offset = Int(position - frame.lowerBound)
            taken += count
            position += UInt64(count)
            let isLast = position == frame.upperBound
            let index = current
            if isLast { current += 1 }
            unsafe body(Fragment(frame: index, offset: offset, bytes: bytes, isLast: isLast))
        }
    }
}
