import CKamlSys
import Glibc

/// The service manager that started this process, as systemd speaks (sd_notify(3), sd_listen_fds(3)).
///
/// Elsewhere than under a service manager there is none, and nothing is sent.
package struct ServiceManager: Sendable {
    private let address: ByteString
    /// Half the time after which the manager takes the service for hung; nil when it does not watch.
    package let watchdogMicroseconds: UInt64?

    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Nil when nobody wants to be told.
    package init?(_ environment: (String) -> String? = Self.ownEnvironment, process: Int32 = getpid()) {
        guard let address = environment("NOTIFY_SOCKET"), address.hasPrefix("/") || address.hasPrefix("@"),
            address.utf8.count > 1
        else { return nil }
        self.address = ByteString(address)
        let isMeant = environment("WATCHDOG_PID").map { $0 == String(process) } ?? true
        let period = environment("WATCHDOG_USEC").flatMap { UInt64($0) } ?? 0
        watchdogMicroseconds = isMeant && period > 1 ? period / 2 : nil
    }

    /// This process's own environment.
    package static let ownEnvironment: @Sendable (String) -> String? = { name in
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    package enum State: Sendable, Hashable {
        case ready
        /// The configuration is being read again; `ready` follows. The time is CLOCK_MONOTONIC's.
        case reloading(monotonicMicroseconds: UInt64)
        case stopping
        /// Not hung.
        case watchdog
        /// One line for people (`systemctl status`).
        case status(String)
        /// More time for the start, reload or stop that is going on.
        case extendTimeout(microseconds: UInt64)

        var line: String {
            switch self {
            case .ready: "READY=1"
            case .reloading(let time): "RELOADING=1\nMONOTONIC_USEC=\(time)"
            case .stopping: "STOPPING=1"
            case .watchdog: "WATCHDOG=1"
            case .status(let text): "STATUS=" + text.map { $0.isNewline ? " " : String($0) }.joined()
            case .extendTimeout(let time): "EXTEND_TIMEOUT_USEC=\(time)"
            }
        }
    }

    /// Tells the manager.
    ///
    /// - Throws: what the socket says; a service goes on without it.
    package func notify(_ states: State...) throws(Errno) { try send(states.map(\.line), []) }

    /// Gives a descriptor to the manager, who hands it to the service's next process under the name: up to 255 of
    /// letters, digits, `-`, `_` and `.`. It keeps it until told otherwise.
    ///
    /// Never polled (`FDPOLL=0`): a poll of /dev/fuse would wake the manager for every request of the mount.
    package func store(_ descriptor: Int32, name: String) throws(Errno) {
        guard Self.isName(name) else { throw .invalid }
        try send(["FDSTORE=1", "FDPOLL=0", "FDNAME=\(name)"], [descriptor])
    }

    /// Has every stored descriptor of the name closed.
    package func removeStored(name: String) throws(Errno) {
        guard Self.isName(name) else { throw .invalid }
        try send(["FDSTOREREMOVE=1", "FDNAME=\(name)"], [])
    }

    private static func isName(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    private func send(_ lines: [String], _ descriptors: [Int32]) throws(Errno) {
        let socket = kaml_unix_socket(Int32(SOCK_DGRAM.rawValue))
        if socket < 0 { throw .last }
        let owned = FileDescriptor(owning: socket)
        if unsafe address.withCString({ unsafe kaml_unix_connect(owned.rawValue, $0, address.count) }) < 0 {
            throw .last
        }
        let text = Array((lines.joined(separator: "\n") + "\n").utf8)
        let sent = unsafe kaml_send_message(
            owned.rawValue, text, text.count, descriptors, descriptors.count)
        if sent < 0 { throw .last }
    }

    // MARK: - What the manager gave

    /// The descriptors that this process was started with, by name: sockets that the manager listens on, and those
    /// that an earlier process stored. To be called once, before anything else opens descriptors: it takes them over.
    /// `first` is 3 outside of tests.
    package static func takeDescriptors(
        _ environment: (String) -> String? = ownEnvironment, process: Int32 = getpid(), first: Int32 = 3
    ) -> [(name: String, descriptor: Int32)] {
        guard environment("LISTEN_PID") == String(process),
            let count = environment("LISTEN_FDS").flatMap({ Int32($0) }), count > 0, count <= 1 << 20
        else { return [] }
        let names = (environment("LISTEN_FDNAMES") ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        return (0..<count).compactMap { index in
            let descriptor = first + index
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) >= 0 else { return nil }
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            return (name.isEmpty ? "unknown" : name, descriptor)
        }
    }
}
