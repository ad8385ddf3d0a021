package import GRPCCore
package import GRPCNIOTransportHTTP2Posix
import Glibc
package import System

/// How clients reach a server on this machine.
package typealias UnixSocketTransport = HTTP2ClientTransport.Posix

package enum RPCConnection {
    /// Runs `body` with a client of the server behind a Unix socket.
    package static func with<Result: Sendable>(
        _ socket: ByteString, _ body: (GRPCClient<UnixSocketTransport>) async throws -> Result
    ) async throws -> Result {
        var config = UnixSocketTransport.Config.defaults
        config.connection.flushCoalescing = nil
        let transport = try UnixSocketTransport(
            target: .unixDomainSocket(
                path: String(decoding: socket.bytes, as: UTF8.self), authority: "localhost"),
            transportSecurity: .plaintext, config: config, eventLoopGroup: EventLoops.group)
        return try await withGRPCClient(transport: transport) { try await body($0) }
    }

    /// Whether somebody accepts connections on a socket now. Waits for nobody.
    package static func answers(_ socket: ByteString) -> Result<Void, Errno> {
        guard socket.bytes.count < 108 else { return .failure(.invalid) }
        let raw = Glibc.socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard raw >= 0 else { return .failure(.last) }
        let client = FileDescriptor(owning: raw)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: socket.bytes) }
        let status = unsafe withUnsafePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(client.rawValue, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return status == 0 ? .success(()) : .failure(.last)
    }
}
