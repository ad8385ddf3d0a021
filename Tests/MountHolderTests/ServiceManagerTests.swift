import FuseTestSupport
import Glibc
import NotifySocket
import System
import Testing

@Suite struct `Telling a service manager` {
    private static func manager(_ socket: NotifySocket, _ more: [String: String] = [:]) throws
        -> ServiceManager
    {
        let environment = more.merging(["NOTIFY_SOCKET": "\(socket.address)"]) { $1 }
        return try #require(ServiceManager({ environment[$0] }, process: 77))
    }

    private static func withSocket(_ body: (NotifySocket) throws -> Void) throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try body(try NotifySocket(directory.path.appending("notify")))
        // A name without a file (unix(7)).
        try body(try NotifySocket(ByteString("@kaml-test-\(getpid())-\(UInt64.random(in: 0 ... .max))")))
    }

    @Test func `states arrive as systemd reads them`() throws {
        try Self.withSocket { socket in
            let manager = try Self.manager(socket)
            try manager.notify(.ready, .status("12 mounts\nREADY=0"))
            try manager.notify(.reloading(monotonicMicroseconds: 123))
            try manager.notify(.stopping, .extendTimeout(microseconds: 5))
            try manager.notify(.watchdog)
            try socket.take()
            #expect(
                socket.messages == [
                    "READY=1\nSTATUS=12 mounts READY=0\n", "RELOADING=1\nMONOTONIC_USEC=123\n",
                    "STOPPING=1\nEXTEND_TIMEOUT_USEC=5\n", "WATCHDOG=1\n",
                ])
        }
    }

    @Test func `descriptors are stored under names that systemd takes`() throws {
        try Self.withSocket { socket in
            let manager = try Self.manager(socket)
            let file = try FileDescriptor.open("/dev/zero", O_RDONLY)
            try manager.store(file.rawValue, name: "kaml-files-1")
            try socket.take()
            #expect(socket.stored.map(\.name) == ["kaml-files-1"])
            var byte: UInt8 = 1
            #expect(read(try #require(socket.stored.first).descriptor, &byte, 1) == 1 && byte == 0)
            try manager.removeStored(name: "kaml-files-1")
            try socket.take()
            #expect(socket.stored.isEmpty)
            for name in ["", "a:b", "a\nREADY=1", String(repeating: "x", count: 256)] {
                #expect(throws: Errno.invalid) { try manager.store(file.rawValue, name: name) }
            }
        }
    }

    @Test func `the watchdog is for the process that it names`() throws {
        try Self.withSocket { socket throws in
            func period(_ more: [String: String]) throws -> UInt64? {
                try Self.manager(socket, more).watchdogMicroseconds
            }
            #expect(try period([:]) == nil)
            #expect(try period(["WATCHDOG_USEC": "30000000"]) == 15_000_000)
            #expect(try period(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"]) == 15_000_000)
            #expect(try period(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"]) == nil)
            #expect(try period(["WATCHDOG_USEC": "soon"]) == nil)
        }
    }

    @Test func `elsewhere there is none, and one that is gone is an error to go on after`() throws {
        #expect(ServiceManager { _ in nil } == nil)
        #expect(ServiceManager { _ in "relative" } == nil)
        #expect(ServiceManager { _ in "@" } == nil)
        let gone = try #require(ServiceManager { $0 == "NOTIFY_SOCKET" ? "/nonexistent/notify" : nil })
        #expect(throws: Errno.noEntry) { try gone.notify(.ready) }
    }

    @Test func `descriptors from the manager are taken by the process they are meant for`() throws {
        let file = try FileDescriptor.open("/dev/null", O_RDONLY)
        // Two numbers that follow one another.
        let first = fcntl(file.rawValue, F_DUPFD, 300)
        let second = fcntl(file.rawValue, F_DUPFD, first + 1)
        defer {
            close(first)
            close(second)
        }
        func taken(_ environment: [String: String]) -> [(name: String, descriptor: Int32)] {
            ServiceManager.takeDescriptors({ environment[$0] }, process: 77, first: first)
        }
        let all = ["LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"]
        #expect(taken(all).map(\.name) == ["a", "b"])
        #expect(taken(all).map(\.descriptor) == [first, second])
        #expect(fcntl(first, F_GETFD) == FD_CLOEXEC)
        #expect(taken(all.merging(["LISTEN_PID": "78"]) { $1 }).isEmpty)
        #expect(taken(all.merging(["LISTEN_FDS": "-1"]) { $1 }).isEmpty)
        #expect(taken(["LISTEN_PID": "77", "LISTEN_FDS": "1"]).map(\.name) == ["unknown"])
    }
}
