import Glibc
package import System

/// What a mount's background process tells the command that started it, through a pipe.
///
/// One message, then the end: `ready`, LF and a line for people; or `failed`, a space, the exit status, LF and
/// the error as it is to be printed. Nothing at all means that the process died.
package enum ReadinessMessage: Sendable, Hashable {
    case ready(String)
    case failed(status: Int32, text: String)

    package var bytes: [UInt8] {
        switch self {
        case .ready(let text): Array("ready\n\(text)".utf8)
        case .failed(let status, let text): Array("failed \(status)\n\(text)".utf8)
        }
    }

    /// Nil when the bytes are no message.
    package init?(_ bytes: [UInt8]) {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let head = String(decoding: bytes[..<end], as: UTF8.self).split(separator: " ")
        let text = String(decoding: bytes[(end + 1)...], as: UTF8.self)
        switch (head.first, head.count) {
        case ("ready", 1): self = .ready(text)
        case ("failed", 2):
            guard let status = Int32(String(head[1])) else { return nil }
            self = .failed(status: status, text: text)
        default: return nil
        }
    }

    /// Writes the message and closes the pipe.
    package func send(to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno != EINTR { break }
            rest = rest.dropFirst(max(0, count))
        }
        close(descriptor)
    }

    /// Waits for the other end to say something and to close the pipe.
    package static func receive(from descriptor: borrowing FileDescriptor) -> ReadinessMessage? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe read(descriptor.rawValue, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return ReadinessMessage(bytes) }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}
