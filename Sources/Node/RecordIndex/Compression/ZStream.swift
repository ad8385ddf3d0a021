import CZlib

/// An inflate stream of zlib. Its struct stays where it is: zlib keeps a pointer to it.
@safe struct ZStream: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>

    enum Header {
        case gzip
        case zlib
        /// Blocks without header and trailer.
        case none

        var windowBits: Int32 {
            switch self {
            case .gzip: 31
            case .zlib: 15
            case .none: -15
            }
        }
    }

    /// What a call came to.
    struct Step {
        var read: Int
        var written: Int
        var status: Int32
        /// At a block's end, so that decoding can begin here.
        var isAtBlock: Bool
        /// Unused bits of the last byte read.
        var bits: UInt8
    }

    /// Nil without memory.
    init?(_ header: Header) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe kaml_inflate_init(stream, header.windowBits) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    mutating func reset(_ header: Header) { unsafe inflateReset2(stream, header.windowBits) }

    /// Begins at a block, `bits` of whose bits are in `byte`.
    mutating func prime(bits: UInt8, of byte: UInt8, window: UnsafeRawBufferPointer) -> Bool {
        if bits > 0, unsafe inflatePrime(stream, Int32(bits), Int32(byte >> (8 - bits))) != Z_OK {
            return false
        }
        guard let base = window.baseAddress, unsafe !window.isEmpty else { return true }
        return unsafe inflateSetDictionary(
            stream, base.assumingMemoryBound(to: UInt8.self), UInt32(window.count)) == Z_OK
    }

    /// Decodes until `input` is used up, `output` is full, or, with `stopsAtBlocks`, a block ends.
    mutating func step(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, stopsAtBlocks: Bool
    ) -> Step {
        let inputCount = min(input.count, Int(Int32.max))
        let outputCount = min(output.count, Int(Int32.max))
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = UInt32(inputCount)
        unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.avail_out = UInt32(outputCount)
        let status = unsafe inflate(stream, stopsAtBlocks ? Z_BLOCK : Z_NO_FLUSH)
        let type = unsafe stream.pointee.data_type
        return unsafe Step(
            read: inputCount - Int(stream.pointee.avail_in),
            written: outputCount - Int(stream.pointee.avail_out),
            status: status, isAtBlock: type & 128 != 0 && type & 64 == 0, bits: UInt8(type & 7))
    }

    /// The last decoded bytes, at most `RestartPoint.longestWindow`; `buffer` holds as many.
    mutating func window(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var length: UInt32 = 0
        guard
            unsafe inflateGetDictionary(
                stream, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), &length) == Z_OK
        else { return 0 }
        return Int(length)
    }
}
