import Glibc
import System

/// SIGTERM and SIGINT as a descriptor that can be read when one has come.
enum EndingSignals {
    /// Call before any thread is started: they inherit that the signals are blocked.
    static func descriptor() throws -> FileDescriptor {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGTERM)
        unsafe sigaddset(&signals, SIGINT)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw Errno.last }
        let write = ends[1]
        let awaited = signals
        try Thread(name: "signals") {
            var signals = awaited
            var signal: Int32 = 0
            while unsafe sigwait(&signals, &signal) != 0 {}
            close(write)
        }.detach()
        return FileDescriptor(owning: ends[0])
    }
}
