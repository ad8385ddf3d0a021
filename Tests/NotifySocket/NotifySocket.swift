import CKamlSys
import Glibc
package import System

/// A service manager's notification socket, that keeps what it is told and given.
package final class NotifySocket {
    private let socket: FileDescriptor
    package let address: ByteString
    package private(set) var messages: [String] = []
    /// The descriptor store.
    package private(set) var stored: [(name: String, descriptor: Int32)] = []

    package init(_ address: ByteString) throws {
        self.address = address
        socket = FileDescriptor(owning: kaml_unix_socket(Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue)))
        let bound = address.withCString { kaml_unix_bind(socket.rawValue, $0, address.count) }
        if bound < 0 { throw Errno.last }
    }

    deinit { for (_, descriptor) in stored { close(descriptor) } }

    /// Takes what has come.
    package func take() throws {
        while true {
            var bytes = [UInt8](repeating: 0, count: 4096)
            var descriptors = [Int32](repeating: -1, count: Int(KAML_MESSAGE_DESCRIPTORS))
            var count = 0
            let received = kaml_receive_message(socket.rawValue, &bytes, bytes.count, &descriptors, &count)
            if received < 0, Errno.last == .wouldBlock { return }
            if received < 0 { throw Errno.last }
            let text = String(decoding: bytes.prefix(received), as: UTF8.self)
            messages.append(text)
            let fields = text.split(separator: "\n")
            let name = fields.first { $0.hasPrefix("FDNAME=") }.map { String($0.dropFirst(7)) } ?? ""
            for descriptor in descriptors.prefix(count) {
                // Not where a service's descriptors go.
                let kept = fcntl(descriptor, F_DUPFD_CLOEXEC, 200)
                close(descriptor)
                if fields.contains("FDSTORE=1") { stored.append((name, kept)) } else { close(kept) }
            }
            if fields.contains("FDSTOREREMOVE=1") {
                for (other, descriptor) in stored where other == name { close(descriptor) }
                stored.removeAll { $0.name == name }
            }
        }
    }
}
