import NIOCore
import NIOHTTP1
import System

/// The open connections, counted.
final class ConnectionList: Sendable {
    private let open = Monitor<[ObjectIdentifier: any Channel]>([:])

    /// False when there are too many, or the endpoint ends.
    func add(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isTaken = open.withLock { open in
            guard open.count < HTTPEndpoint.maximumConnections else { return false }
            open[id] = channel
            return true
        }
        if isTaken {
            channel.closeFuture.whenComplete { [open] _ in
                open.withLock { _ = $0.removeValue(forKey: id) }
            }
        }
        return isTaken
    }

    func closeAll() {
        for channel in open.withLock({ Array($0.values) }) { channel.close(promise: nil) }
    }
}

/// Closes a connection whose head does not end: NIO's decoder bounds one header, not all of them together.
final class HeadLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let limit: Int
    private var bytes = 0

    init(_ limit: Int) { self.limit = limit }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes += unwrapInboundIn(data).readableBytes
        if bytes > limit { return context.close(promise: nil) }
        context.fireChannelRead(data)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    /// A request was taken: the next one may have as much.
    func reset() { bytes = 0 }
}

/// Answers one request after the other.
final class QuestionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let handler: HTTPEndpoint.Handler
    private var head: HTTPRequestHead?

    init(_ handler: @escaping HTTPEndpoint.Handler) { self.handler = handler }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            if let limit = try? context.pipeline.syncOperations.handler(type: HeadLimit.self) {
                limit.reset()
            }
            answer(head, context)
        }
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let isHead = head.method == .HEAD
        guard isHead || head.method == .GET else {
            return write(HTTPAnswer(405, "only GET and HEAD\n"), head, isHead, context)
        }
        let path = head.uri.prefix { $0 != "?" && $0 != "#" }
        let question = HTTPQuestion(path: String(path), accept: head.headers["accept"].joined(separator: ","))
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let handler = handler
        context.eventLoop.makeFutureWithTask { await handler(question) }
            .whenComplete { outcome in
                let (connection, context) = bound.value
                let answer = (try? outcome.get()) ?? HTTPAnswer(404, "not here\n")
                connection.write(answer, head, isHead, context)
            }
    }

    private func write(
        _ answer: HTTPAnswer, _ head: HTTPRequestHead, _ isHead: Bool, _ context: ChannelHandlerContext
    ) {
        var headers = HTTPHeaders()
        headers.add(name: "content-type", value: answer.contentType)
        headers.add(name: "content-length", value: "\(answer.body.count)")
        headers.add(name: "cache-control", value: "no-store")
        if answer.status == 405 { headers.add(name: "allow", value: "GET, HEAD") }
        let keepsAlive = head.isKeepAlive && answer.status < 400
        if !keepsAlive { headers.add(name: "connection", value: "close") }
        let response = HTTPResponseHead(
            version: head.version, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if !isHead {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body)))), promise: nil)
        }
        let done = context.eventLoop.makePromise(of: Void.self)
        if !keepsAlive {
            let channel = context.channel
            done.futureResult.whenComplete { _ in channel.close(promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: done)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
