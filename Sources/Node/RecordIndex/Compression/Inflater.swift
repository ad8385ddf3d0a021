import CZlib

/// Decodes a gzip or zlib file from its begin, in pieces, and notes where decoding can begin later. gzip files may have
/// several members, as `cat` and bgzip make them.
@safe final class Inflater {
    private(set) var file: CompressedFile
    private var stream: ZStream
    private let output: UnsafeMutableRawBufferPointer
    private let window: UnsafeMutableRawBufferPointer
    private(set) var decoded: UInt64 = 0
    private var encoded: UInt64 = 0
    private var lastPoint: UInt64 = 0
    private var state = State.beginning

    private enum State {
        /// Before a header, if there is one.
        case beginning
        case inside
        /// After a member's end.
        case between
    }

    /// Nil without memory.
    init?(_ codec: FileCodec) {
        guard let stream = ZStream(codec == .gzip ? .gzip : .zlib) else { return nil }
        self.stream = stream
        file = CompressedFile(codec)
        unsafe output = .allocate(byteCount: 256 << 10, alignment: 64)
        unsafe window = .allocate(byteCount: RestartPoint.longestWindow, alignment: 64)
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe file.append(decodedOffset: 0, encodedOffset: 0, bits: 0, isBeginning: true, window: none)
    }

    deinit {
        unsafe output.deallocate()
        unsafe window.deallocate()
    }

    /// Hands what the next encoded bytes come to to `parser`.
    func take(_ input: UnsafeRawBufferPointer, into parser: inout any RecordParser) throws(RecordIndexError) {
        var rest = unsafe input
        while unsafe !rest.isEmpty {
            if case .between = state {
                guard file.codec == .gzip else {
                    throw failure("bytes follow the end of the compressed data")
                }
                stream.reset(.gzip)
            }
            state = .inside
            let step = unsafe stream.step(rest, output, stopsAtBlocks: true)
            encoded += UInt64(step.read)
            decoded += UInt64(step.written)
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[step.read...])
            if step.written > 0 {
                try unsafe parser.take(UnsafeRawBufferPointer(rebasing: output[..<step.written]))
            }
            switch step.status {
            case Z_OK: if step.isAtBlock, decoded - lastPoint >= RestartPoint.distance { note(step.bits) }
            case Z_STREAM_END: state = .between
            case Z_BUF_ERROR where step.read + step.written > 0: break
            default: throw failure("the compressed data are damaged")
            }
        }
        try drain(into: &parser)
    }

    /// After the last byte.
    func finish() throws(RecordIndexError) -> CompressedFile {
        guard case .between = state else { throw failure("the compressed data are cut off") }
        return file
    }

    /// What the decoder holds back because `output` was full.
    private func drain(into parser: inout any RecordParser) throws(RecordIndexError) {
        while case .inside = state {
            let step = unsafe stream.step(
                UnsafeRawBufferPointer(start: nil, count: 0), output, stopsAtBlocks: true)
            decoded += UInt64(step.written)
            if step.written > 0 {
                try unsafe parser.take(UnsafeRawBufferPointer(rebasing: output[..<step.written]))
            }
            if step.status == Z_STREAM_END { state = .between }
            guard step.status == Z_OK || step.status == Z_STREAM_END || step.status == Z_BUF_ERROR else {
                throw failure("the compressed data are damaged")
            }
            if step.written == 0 { return }
        }
    }

    private func note(_ bits: UInt8) {
        let count = unsafe stream.window(into: window)
        unsafe file.append(
            decodedOffset: decoded, encodedOffset: encoded, bits: bits, isBeginning: false,
            window: UnsafeRawBufferPointer(rebasing: window[..<count]))
        lastPoint = decoded
    }

    private func failure(_ what: String) -> RecordIndexError {
        RecordIndexError(.damaged, what, offset: decoded, remedy: "Write the file again")
    }
}
