import Glibc
package import HTTPExchange
import System

/// `openssl s_server`, which answers every request with 200 and a page about the connection.
package final class TLSServer: Sendable {
    package let origin: HTTPOrigin
    private let process: pid_t
    private let input: Int32
    private let output: Int32

    package init(key: String, certificate: String) throws {
        let (fromUs, toUs) = (try closedOnExecPipe(), try closedOnExecPipe())
        process = try spawn(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate, "-www"],
            input: fromUs.reading, output: toUs.writing)
        close(fromUs.reading)
        close(toUs.writing)
        (input, output) = (fromUs.writing, toUs.reading)
        guard let port = Self.port(announcedOn: output) else {
            throw ProgramFailure(detail: "openssl s_server did not say its port")
        }
        origin = HTTPOrigin(isSecure: true, host: "127.0.0.1", port: port)
    }

    package func stop() {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        close(input)
        close(output)
    }

    /// From the line `ACCEPT 127.0.0.1:12345`.
    private static func port(announcedOn output: Int32) -> UInt16? {
        var text = ""
        var byte: UInt8 = 0
        while read(output, &byte, 1) == 1 {
            if byte != UInt8(ascii: "\n") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
                continue
            }
            if text.hasPrefix("ACCEPT ") { return text.split(separator: ":").last.flatMap { UInt16($0) } }
            text = ""
        }
        return nil
    }
}
