import CKamlSys
import Glibc

/// Descriptors that came with a message: closed with their owner, but for those that were taken.
package struct ReceivedDescriptors: ~Copyable, Sendable {
    private var descriptors: [Int32]

    package init(owning descriptors: [Int32] = []) { self.descriptors = descriptors }

    deinit { for descriptor in descriptors { Glibc.close(descriptor) } }

    package var count: Int { descriptors.count }

    /// The next one in the order in which they were sent; nil when none is left.
    package mutating func take() -> FileDescriptor? {
        descriptors.isEmpty ? nil : FileDescriptor(owning: descriptors.removeFirst())
    }
}

/// A Unix socket of type SOCK_SEQPACKET: messages with bounds, in order, with descriptors beside them.
package struct MessageSocket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    package var rawValue: Int32 { descriptor.rawValue }

    package init(owning descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    private static func make() throws(Errno) -> FileDescriptor {
        let socket = kaml_unix_socket(Int32(SOCK_SEQPACKET.rawValue))
        if socket < 0 { throw .last }
        return FileDescriptor(owning: socket)
    }

    /// Listens at a path, where nothing may be. Non-blocking.
    package static func listen(at path: ByteString, mode: UInt32) throws(Errno) -> MessageSocket {
        let socket = try make()
        // The mode counts from the first moment on.
        let mask = umask(~mode & 0o777)
        let bound = unsafe path.withCString { unsafe kaml_unix_bind(socket.rawValue, $0, path.count) }
        let error = Errno.last
        umask(mask)
        if bound < 0 { throw error }
        if Glibc.listen(socket.rawValue, 64) < 0 { throw .last }
        return try MessageSocket(owning: socket).nonBlocking()
    }

    package static func connect(to path: ByteString) throws(Errno) -> MessageSocket {
        let socket = try make()
        if unsafe path.withCString({ unsafe kaml_unix_connect(socket.rawValue, $0, path.count) }) < 0 {
            throw .last
        }
        return MessageSocket(owning: socket)
    }

    /// The next connection, non-blocking; nil when none waits.
    package borrowing func accept() throws(Errno) -> MessageSocket? {
        let accepted = kaml_unix_accept(rawValue)
        if accepted >= 0 { return MessageSocket(owning: FileDescriptor(owning: accepted)) }
        switch Errno.last {
        case .wouldBlock, .interrupted, Errno(rawValue: ECONNABORTED): return nil
        case let error: throw error
        }
    }

    package consuming func nonBlocking() throws(Errno) -> MessageSocket {
        if fcntl(rawValue, F_SETFL, O_NONBLOCK) < 0 { throw .last }
        return self
    }

    /// Bounds how long `send` and `receive` wait; they throw `wouldBlock` then.
    package borrowing func setTimeout(milliseconds: UInt32) throws(Errno) {
        if kaml_socket_timeout(rawValue, milliseconds) < 0 { throw .last }
    }

    /// Who is at the other end: as it was when it connected.
    package borrowing func peer() throws(Errno) -> (user: UInt32, process: Int32) {
        var process: Int32 = 0
        let user = unsafe kaml_unix_peer(rawValue, &process)
        if user < 0 { throw .last }
        return (UInt32(truncatingIfNeeded: user), process)
    }

    /// The effective group at the other end.
    package borrowing func peerGroup() throws(Errno) -> UInt32 {
        let group = kaml_unix_peer_group(rawValue)
        if group < 0 { throw .last }
        return UInt32(truncatingIfNeeded: group)
    }

    /// A descriptor of the process at the other end (pidfd); nil on kernels before 6.5.
    package borrowing func peerProcess() -> FileDescriptor? {
        let process = kaml_unix_peer_process(rawValue)
        return process >= 0 ? FileDescriptor(owning: process) : nil
    }

    package borrowing func send(_ bytes: [UInt8], descriptors: [Int32] = []) throws(Errno) {
        let sent = unsafe kaml_send_message(rawValue, bytes, bytes.count, descriptors, descriptors.count)
        if sent < 0 { throw .last }
        if sent != bytes.count { throw .inputOutput }
    }

    package struct Message: ~Copyable, Sendable {
        package let bytes: [UInt8]
        package var descriptors: ReceivedDescriptors

        package consuming func takeDescriptors() -> ReceivedDescriptors { descriptors }
    }

    /// The next message; nil at the end of the connection (so an empty message ends it too).
    ///
    /// - Throws: `EMSGSIZE` for a message above `limit` bytes, or with more descriptors than are ever sent.
    package borrowing func receive(limit: Int) throws(Errno) -> Message? {
        var bytes = [UInt8](repeating: 0, count: limit)
        var descriptors = [Int32](repeating: -1, count: Int(KAML_MESSAGE_DESCRIPTORS))
        var count = 0
        let socket = rawValue
        let received = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe kaml_receive_message(socket, buffer.baseAddress, limit, &descriptors, &count)
        }
        if received < 0 { throw .last }
        let owned = ReceivedDescriptors(owning: Array(descriptors.prefix(count)))
        if received == 0 { return nil }
        bytes.removeLast(limit - received)
        return Message(bytes: bytes, descriptors: owned)
    }
}
