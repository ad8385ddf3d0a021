package import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOPosix
package import System

/// What one server takes from its clients, so that none of them can fill its memory.
package struct RPCServerLimits: Sendable {
    /// Bytes of one request message.
    package var requestBytes = 1 << 20
    /// Calls side by side on one connection.
    package var streamsPerConnection = 64
    /// How long calls that run may take to end when the server is asked to.
    package var graceSeconds = 5

    package init() {}
}

/// gRPC services on a Unix socket.
package final class RPCServer: Sendable {
    private let server: GRPCServer<HTTP2ServerTransport.Posix>
    private let graceSeconds: Int

    /// Takes a duplicate of the listener's socket; clients are accepted once `serve` runs.
    package init(
        _ listener: borrowing UnixSocketListener, services: [any RegistrableRPCService],
        limits: RPCServerLimits = RPCServerLimits()
    ) throws(Errno) {
        var config = HTTP2ServerTransport.Posix.Config.defaults
        config.rpc.maxRequestPayloadSize = limits.requestBytes
        config.http2.maxConcurrentStreams = limits.streamsPerConnection
        // A hundred microseconds of waiting for more are lost on calls that come one by one.
        config.connection.flushCoalescing = nil
        config.connection.maxGraceTime = .seconds(limits.graceSeconds)
        graceSeconds = limits.graceSeconds
        let transport = HTTP2ServerTransport.Posix(
            listeningSocketDescriptor: Int(try listener.duplicate()), transportSecurity: .plaintext,
            config: config, eventLoopGroup: EventLoops.group)
        server = GRPCServer(transport: transport, services: services)
    }

    /// Returns when the server was asked to end and every call is done.
    package func serve() async throws { try await server.serve() }

    /// Takes no more calls and lets those that run end.
    package func beginGracefulShutdown() { server.beginGracefulShutdown() }
}

/// The one group of event loops of a process: its work is small talk.
enum EventLoops {
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
}
