import Glibc
import System

/// What the command was asked to print: on stdout for scripts and people alike, the rest goes to stderr.
package enum OutputFormat: String, Sendable, CaseIterable {
    case table, json, yaml
}

/// Standard output with a buffer. Used by one thread.
///
/// A reader that goes away (`kaml log | head`) ends the process the way it ends other tools: by SIGPIPE.
/// The signal itself is ignored from the start, since a store's connection may raise it as well.
package final class StandardOutput {
    private var buffer: [UInt8] = []
    private static let capacity = 64 << 10

    package init() {}

    package func write(_ text: String) { write(text.utf8) }

    package func write(_ bytes: some Sequence<UInt8>) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.capacity { flush() }
    }

    /// Writes large runs without a copy.
    package func write(_ bytes: UnsafeRawBufferPointer) {
        flush()
        unsafe send(bytes)
    }

    package func flush() {
        guard !buffer.isEmpty else { return }
        unsafe buffer.withUnsafeBytes { unsafe send($0) }
        buffer.removeAll(keepingCapacity: true)
    }

    private func send(_ bytes: UnsafeRawBufferPointer) {
        var rest = unsafe bytes
        while unsafe !rest.isEmpty {
            let count = unsafe Glibc.write(STDOUT_FILENO, rest.baseAddress, rest.count)
            if count >= 0 {
                unsafe rest = unsafe UnsafeRawBufferPointer(rebasing: rest[count...])
            } else if errno != EINTR {
                Self.fail(Errno.last)
            }
        }
    }

    private static func fail(_ error: Errno) -> Never {
        if error.rawValue == EPIPE {
            signal(SIGPIPE, SIG_DFL)
            raise(SIGPIPE)
        }
        StandardError.write("error: cannot write to standard output: \(error)\n")
        exit(error == .noSpace ? ExitStatus.noSpace.rawValue : ExitStatus.failure.rawValue)
    }
}

/// Standard error, unbuffered.
package enum StandardError {
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Rows of the terminal; 24 when it does not say.
    package static var rows: Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else { return 24 }
        return Int(size.ws_row)
    }

    /// Columns of the terminal; 80 when it does not say.
    package static var columns: Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    package static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
