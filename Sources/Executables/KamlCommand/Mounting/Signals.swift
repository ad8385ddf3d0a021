import Glibc
import System

/// The signals that ask a serving process to end, taken by one thread instead of handlers.
package enum EndSignals {
    /// Must be called before any other thread starts, since threads inherit what is blocked.
    package static func block() { unsafe with { unsafe pthread_sigmask(SIG_BLOCK, $0, nil) } }

    /// Starts a thread that calls `body` with each signal's number and how many came so far, from 1.
    package static func handle(
        _ body: @escaping @Sendable (_ signal: Int32, _ count: Int) -> Void
    ) throws {
        let thread = try Thread(name: "kaml-signals") {
            var count = 0
            while true {
                var number: Int32 = 0
                guard unsafe with({ unsafe sigwait($0, &number) }) == 0 else { return }
                count += 1
                body(number, count)
            }
        }
        thread.detach()
    }

    @discardableResult
    private static func with(_ body: (UnsafePointer<sigset_t>) -> Int32) -> Int32 {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&set, number) }
        return unsafe body(&set)
    }
}

extension EndSignals {
    /// Ends the process without tidying up.
    package static func endNow(_ code: Int32) -> Never { _exit(code) }
}
