import CZstd

/// How a frame's payload is stored.
package enum Codec: UInt8, Sendable {
    case none = 0
    case zstd = 1
    /// zstd with another chunk's plain bytes as prefix (`ZSTD_CCtx_refPrefix`).
    case zstdPrefix = 2
    /// No frame: the plain bytes lie in an object of somebody else's, which a pack's footer names.
    case reference = 3
}

/// A payload that is not what its lengths say. Carries zstd's own words.
package struct CodecError: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// Compresses payloads. One a thread; holds zstd's tables, about 2 MB at level 3 and 4 to 20 MB above.
@safe package struct FrameEncoder: ~Copyable {
    private let context: OpaquePointer
    private var output: UnsafeMutableRawBufferPointer
    private let level: Int32
    private let prefixLevel: Int32
    private var isSetForPrefix = false

    /// The largest window of a frame, as a power of two; a reader's memory does not depend on it.
    private static let maximumWindowLog: Int32 = 27
    /// Tables beyond 4 M entries cost more in cache misses than they find.
    private static let maximumTableLog: Int32 = 22

    /// `level` is zstd's, 1 to 19; `prefixLevel` the one for frames with a prefix, the same if nil.
    package init(level: Int32, prefixLevel: Int32? = nil) {
        guard let context = unsafe ZSTD_createCCtx() else {
            preconditionFailure("zstd: no memory for a context")
        }
        unsafe self.context = unsafe context
        self.level = level
        self.prefixLevel = prefixLevel ?? level
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        // The plain length and the hash are in the format already.
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0)
        unsafe output = .allocate(byteCount: 1 << 20, alignment: 64)
    }

    deinit {
        unsafe ZSTD_freeCCtx(context)
        unsafe output.deallocate()
    }

    /// The compressed bytes, valid until the next call; nil when they would not be shorter than `plain`.
    package mutating func compress(
        _ plain: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil
    ) -> UnsafeRawBufferPointer? {
        let bound = ZSTD_compressBound(plain.count)
        if unsafe output.count < bound {
            unsafe output.deallocate()
            unsafe output = .allocate(byteCount: bound, alignment: 64)
        }
        if let prefix = unsafe prefix {
            prepare(forPrefix: prefix.count, plain.count)
            // A prefix holds for one compression only.
            unsafe ZSTD_CCtx_refPrefix(context, prefix.baseAddress, prefix.count)
        } else if isSetForPrefix {
            restoreParameters()
        }
        let length = unsafe ZSTD_compress2(
            context, output.baseAddress, output.count, plain.baseAddress, plain.count)
        if ZSTD_isError(length) != 0 || length >= plain.count { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: output[..<length])
    }

    /// zstd sizes its window and tables by the level. A difference needs all of the prefix in the window, and
    /// tables in which the prefix's positions do not push each other out.
    private mutating func prepare(forPrefix prefix: Int, _ plain: Int) {
        let total = max(1 << 10, prefix + plain)
        let log = Int32(Int.bitWidth - (total - 1).leadingZeroBitCount)
        let tableLog = min(log, Self.maximumTableLog)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, prefixLevel)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, min(log, Self.maximumWindowLog))
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, tableLog)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_chainLog, tableLog)
        isSetForPrefix = true
    }

    private mutating func restoreParameters() {
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        // 0 means: as the level says.
        for parameter in [ZSTD_c_windowLog, ZSTD_c_hashLog, ZSTD_c_chainLog] {
            unsafe ZSTD_CCtx_setParameter(context, parameter, 0)
        }
        isSetForPrefix = false
    }
}

/// Decompresses payloads into buffers of exactly the plain length, so a payload that lies about its size
/// costs no memory. One a thread.
@safe package struct FrameDecoder: ~Copyable {
    private let context: OpaquePointer

    package init() {
        guard let context = unsafe ZSTD_createDCtx() else {
            preconditionFailure("zstd: no memory for a context")
        }
        unsafe self.context = unsafe context
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// Fills `plain`. `prefix` is needed for `.zstdPrefix` and only there.
    package func decode(
        _ codec: Codec, _ payload: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer?,
        into plain: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        switch codec {
        case .none:
            guard payload.count == plain.count else {
                throw CodecError("stored length \(payload.count) differs from plain length \(plain.count)")
            }
            unsafe plain.copyMemory(from: payload)
            return
        case .zstd: break
        case .zstdPrefix:
            guard let prefix = unsafe prefix else { throw CodecError("a prefix frame without its base") }
            unsafe ZSTD_DCtx_refPrefix(context, prefix.baseAddress, prefix.count)
        case .reference: throw CodecError("a reference has no frame")
        }
        let length = unsafe ZSTD_decompressDCtx(
            context, plain.baseAddress, plain.count, payload.baseAddress, payload.count)
        if ZSTD_isError(length) != 0 {
            throw CodecError(unsafe "zstd: \(String(cString: ZSTD_getErrorName(length)))")
        }
        guard length == plain.count else {
            throw CodecError("plain length is \(length), not the \(plain.count) recorded")
        }
    }
}
