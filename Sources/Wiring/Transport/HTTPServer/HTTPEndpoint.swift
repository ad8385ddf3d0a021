import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
package import System

/// What a small HTTP server answers with.
package struct HTTPAnswer: Sendable {
    package var status: Int
    package var contentType: String
    package var body: [UInt8]

    package init(_ status: Int, contentType: String = "text/plain; charset=utf-8", body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    package init(_ status: Int, _ text: String) { self.init(status, body: Array(text.utf8)) }
}

/// What is asked of it.
package struct HTTPQuestion: Sendable {
    /// Without the query.
    package var path: String
    package var accept: String
}

package enum HTTPEndpointPlace: Sendable {
    case address(host: String, port: Int)
    case socket(ByteString)
}

/// A small HTTP/1.1 server for machines that look after the agent: GET and HEAD of a few paths, every other thing refused.
package final class HTTPEndpoint: Sendable {
    /// Nil for a path that is not there.
    package typealias Handler = @Sendable (HTTPQuestion) async -> HTTPAnswer?

    /// Connections at one time; for a further one the most silent is closed.
    static let maximumConnections = 64
    /// Of the request line and the headers together, and of one header.
    static let maximumHeadBytes = 16 << 10
    /// A connection that says nothing for so long is closed.
    static let idle = TimeAmount.seconds(30)
    /// From the first byte of a question to its last.
    static let patience = TimeAmount.seconds(10)

    private let channel: any Channel
    private let connections: ConnectionList
    /// Where it listens really; the port is the kernel's choice where 0 was asked for.
    package let port: Int?

    package static func listen(_ place: HTTPEndpointPlace, handler: @escaping Handler)
        async throws(ListenError)
        -> HTTPEndpoint
    {
        let connections = ConnectionList()
        let bootstrap = ServerBootstrap(group: EventLoops.group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard connections.add(channel) else { throw ChannelError.ioOnClosedChannel }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(IdleStateHandler(allTimeout: idle))
                    try pipeline.addHandler(HeadLimit(maximumHeadBytes, within: patience))
                    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                    try pipeline.addHandler(QuestionHandler(handler, connections))
                }
            }
        switch place {
        case .address(let host, let port):
            do {
                let channel = try await bootstrap.bind(host: host, port: port).get()
                return HTTPEndpoint(channel, connections, port: channel.localAddress?.port)
            } catch {
                let why = (error as? IOError).map { "\(Errno(rawValue: $0.errnoCode))" } ?? "\(error)"
                throw ListenError(
                    "\(host):\(port)", "cannot listen: \(why)",
                    remedy: "choose another place for http.listen, or turn it off")
            }
        case .socket(let path):
            let listener = try UnixSocketListener.open(path)
            do {
                let channel = try await bootstrap.withBoundSocket(try listener.duplicate()).get()
                let endpoint = HTTPEndpoint(channel, connections, port: nil)
                // The place is this process's until it ends.
                listener.keep()
                return endpoint
            } catch {
                throw ListenError("\(path)", "cannot listen: \(error)", remedy: "check http.listen")
            }
        }
    }

    private init(_ channel: any Channel, _ connections: ConnectionList, port: Int?) {
        self.channel = channel
        self.connections = connections
        self.port = port
    }

    /// Closes the place and every connection. Returns at once.
    package func close() {
        channel.close(promise: nil)
        connections.closeAll()
    }

    /// Returns when the place is closed.
    package func waitUntilClosed() async { try? await channel.closeFuture.get() }
}
