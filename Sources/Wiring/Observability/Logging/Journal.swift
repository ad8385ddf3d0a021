import CKamlSys
import Glibc
import Logging
import System
import Telemetry

/// systemd-journald's native protocol: one datagram an entry, and a sealed memory file for those that do not fit.
@safe package struct Journal: Sendable {
    package static let standardPath = "/run/systemd/journal/socket"

    private let socket: Int32
    private let path: String
    private let service: ServiceIdentity

    /// Nil where no socket can be made. The socket is the process's for good.
    init?(path: String = Self.standardPath, _ service: ServiceIdentity) {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0, path.utf8.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path) else {
            if socket >= 0 { close(socket) }
            return nil
        }
        self.socket = socket
        self.path = path
        self.service = service
    }

    /// Whether systemd connected this descriptor to the journal: JOURNAL_STREAM has its device and inode.
    static func isConnected(_ descriptor: Int32, _ stream: String?) -> Bool {
        var status = stat()
        guard let stream, unsafe fstat(descriptor, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    // MARK: Entries

    func entry(_ record: LogRecord) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ name: String, _ value: String) { Self.append(name, value, to: &bytes) }
        add("MESSAGE", record.error.map { "\(record.message): \($0.message)" } ?? record.message)
        add("PRIORITY", Self.priority(record.level))
        add("SYSLOG_IDENTIFIER", service.name)
        add("CODE_FILE", record.file)
        add("CODE_LINE", "\(record.line)")
        add("LOGGER", record.logger)
        if let span = record.span {
            add("TRACE_ID", "\(span.traceID)")
            add("SPAN_ID", "\(span.spanID)")
        }
        if record.repeated > 0 { add("REPEATED", "\(record.repeated)") }
        for label in record.labels { add(Self.fieldName(label.key), label.value) }
        return bytes
    }

    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes += Array(name.utf8)
        if value.utf8.contains(10) {
            bytes.append(10)
            var count = UInt64(value.utf8.count).littleEndian
            unsafe withUnsafeBytes(of: &count) { unsafe bytes.append(contentsOf: $0) }
        } else {
            bytes.append(UInt8(ascii: "="))
        }
        bytes += Array(value.utf8) + [10]
    }

    /// Upper case, digits and underscores, of at most 64 bytes; with a prefix, so that no label takes a known field's
    /// name, nor one of the trusted ones, which begin with an underscore.
    private static func fieldName(_ key: String) -> String {
        let word = key.utf8.prefix(59).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - 32
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): byte
            default: UInt8(ascii: "_")
            }
        }
        return "KAML_" + String(decoding: word, as: UTF8.self)
    }

    private static func priority(_ level: Logger.Level) -> String {
        switch level {
        case .critical: "2"
        case .error: "3"
        case .warning: "4"
        case .notice: "5"
        case .info: "6"
        case .debug, .trace: "7"
        }
    }

    // MARK: Sending

    func send(_ entry: [UInt8]) throws(Errno) {
        if try transmit(entry) { return }
        let file = try Self.sealedFile(entry)
        var control = Self.control(passing: file.rawValue)
        try transmit([], &control)
    }

    /// False when the entry is too large for a datagram.
    private func transmit(_ entry: [UInt8]) throws(Errno) -> Bool {
        var control: [UInt8] = []
        do throws(Errno) { try transmit(entry, &control) } catch {
            if error.rawValue == EMSGSIZE || error.rawValue == ENOBUFS { return false }
            throw error
        }
        return true
    }

    private func transmit(_ entry: [UInt8], _ control: inout [UInt8]) throws(Errno) {
        var entry = entry
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
            unsafe room.copyBytes(from: path.utf8)
        }
        let sent = unsafe entry.withUnsafeMutableBytes { body in
            unsafe control.withUnsafeMutableBytes { control in
                unsafe withUnsafeMutablePointer(to: &address) { address -> Int in
                    var piece = unsafe iovec(iov_base: body.baseAddress, iov_len: body.count)
                    return unsafe withUnsafeMutablePointer(to: &piece) { piece in
                        var message = unsafe msghdr()
                        unsafe message.msg_name = UnsafeMutableRawPointer(address)
                        unsafe message.msg_namelen = socklen_t(MemoryLayout<sockaddr_un>.size)
                        unsafe message.msg_iov = piece
                        unsafe message.msg_iovlen = 1
                        unsafe message.msg_control = control.isEmpty ? nil : control.baseAddress
                        unsafe message.msg_controllen = control.count
                        var result: Int
                        repeat {
                            result = unsafe sendmsg(socket, &message, Int32(MSG_NOSIGNAL))
                        } while result < 0 && errno == EINTR
                        return result
                    }
                }
            }
        }
        if sent < 0 { throw Errno.last }
    }

    /// journald maps it only when nobody can change it any more.
    private static func sealedFile(_ entry: [UInt8]) throws(Errno) -> FileDescriptor {
        let raw = unsafe entry.withUnsafeBytes { bytes in
            unsafe kaml_make_sealed_file("kaml-log", bytes.baseAddress, bytes.count)
        }
        if raw < 0 { throw Errno.last }
        return FileDescriptor(owning: raw)
    }

    /// A cmsghdr with SCM_RIGHTS and one descriptor, as the macros of cmsg(3) lay it out on 64-bit Linux.
    private static func control(passing descriptor: Int32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 24)
        unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe bytes.storeBytes(of: UInt(20), toByteOffset: 0, as: UInt.self)
            unsafe bytes.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
            unsafe bytes.storeBytes(of: 1, toByteOffset: 12, as: Int32.self)
            unsafe bytes.storeBytes(of: descriptor, toByteOffset: 16, as: Int32.self)
        }
        return bytes
    }
}
