/// What kernel and agent agreed on in INIT.
///
/// The two messages are kept as bytes: a process that takes the connection over feeds the request to its
/// own libfuse, since the kernel sends INIT once in a connection's life.
package struct Handshake: Sendable, Equatable {
    package var request: [UInt8]
    package var reply: [UInt8]

    package init(request: [UInt8], reply: [UInt8]) {
        self.request = request
        self.reply = reply
    }

    private func field<Value: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _: Value.Type) -> Value {
        unsafe bytes.withUnsafeBytes { raw in
            guard offset + MemoryLayout<Value>.size <= raw.count else { return 0 }
            return unsafe raw.loadUnaligned(fromByteOffset: offset, as: Value.self)
        }
    }

    /// The kernel's protocol minor version.
    package var kernelMinor: UInt32 { field(request, Init.requestHeader + 4, UInt32.self) }
    package var maxReadAhead: UInt32 { field(reply, Init.replyHeader + Init.replyMaxReadAhead, UInt32.self) }
    package var maxWrite: UInt32 { field(reply, Init.replyHeader + Init.replyMaxWrite, UInt32.self) }
    package var maxPages: UInt16 { field(reply, Init.replyHeader + Init.replyMaxPages, UInt16.self) }
    package var offered: UInt64 { flags(request, Init.requestHeader + 12, Init.requestHeader + 16) }
    package var agreed: UInt64 {
        flags(reply, Init.replyHeader + Init.replyFlags, Init.replyHeader + Init.replyFlags2)
    }
    package var hasPassthrough: Bool { agreed & Init.passthrough != 0 }
    /// Whether the kernel sends again what a process that died had in hand (6.9 or later).
    package var offersResend: Bool { offered & Init.resend != 0 }
    /// Whether both messages are of the sizes that this code knows, from a kernel that agreed.
    package var isComplete: Bool {
        (Init.requestHeader + 16...Init.requestLimit).contains(request.count)
            && field(request, 4, UInt32.self) == Init.opcode
            && reply.count == Init.replyHeader + Init.replyLength && field(reply, 4, Int32.self) == 0
    }

    private func flags(_ bytes: [UInt8], _ low: Int, _ high: Int) -> UInt64 {
        let lower = UInt64(field(bytes, low, UInt32.self))
        guard lower & Init.extended != 0 else { return lower }
        return lower | UInt64(field(bytes, high, UInt32.self)) << 32
    }
}

/// Offsets and bits of FUSE_INIT (include/uapi/linux/fuse.h, protocol 7.40). Spelled out, since Debian 12's
/// header and libfuse stop at 7.38, before passthrough.
package enum Init {
    package static let opcode: UInt32 = 26
    /// struct fuse_in_header, struct fuse_out_header.
    package static let requestHeader = 40
    package static let uniqueOffset = 8
    package static let replyUniqueOffset = 8
    package static let replyHeader = 16
    /// struct fuse_init_out.
    package static let replyLength = 64
    package static let replyMaxReadAhead = 8
    package static let replyFlags = 12
    package static let replyMaxWrite = 20
    package static let replyMaxPages = 28
    package static let replyFlags2 = 32
    package static let replyMaxStackDepth = 36

    package static let extended: UInt64 = 1 << 30
    package static let passthrough: UInt64 = 1 << 37
    package static let resend: UInt64 = 1 << 39
    /// Far above what any kernel sends (104 bytes).
    package static let requestLimit = 4096

    /// Turns passthrough on in libfuse's reply. `false`, and nothing done, when the kernel did not offer it
    /// or the reply has another shape than this code knows.
    ///
    /// A stack depth of 1: backing files lie on a real file system, never on another stacked one.
    package static func enablePassthrough(offered: UInt64, reply: UnsafeMutableRawBufferPointer) -> Bool {
        let needed = extended | passthrough
        guard offered & needed == needed, reply.count == replyLength else { return false }
        let low = unsafe reply.loadUnaligned(fromByteOffset: replyFlags, as: UInt32.self)
        let high = unsafe reply.loadUnaligned(fromByteOffset: replyFlags2, as: UInt32.self)
        unsafe reply.storeBytes(of: low | UInt32(extended), toByteOffset: replyFlags, as: UInt32.self)
        let passthroughHigh = UInt32(truncatingIfNeeded: passthrough >> 32)
        unsafe reply.storeBytes(of: high | passthroughHigh, toByteOffset: replyFlags2, as: UInt32.self)
        unsafe reply.storeBytes(of: 1, toByteOffset: replyMaxStackDepth, as: UInt32.self)
        return true
    }
}
