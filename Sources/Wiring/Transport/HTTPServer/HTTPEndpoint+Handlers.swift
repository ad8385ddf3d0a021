import NIOCore
import NIOHTTP1
import System

/// The open connections, counted. When there are too many the one that has been silent for longest makes room: whoever
/// keeps connections open keeps nobody else out.
final class ConnectionList: Sendable {
    private struct Connection {
        var channel: any Channel
        /// Counts up with every connection and every question.
        var lastWord: UInt64
    }
    private struct State {
        var open: [ObjectIdentifier: Connection] = [:]
        var words: UInt64 = 0
        var isClosed = false
    }
    private let state = Monitor(State())

    /// False when the endpoint ends.
    func add(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let (isTaken, silent) = state.withLock { state -> (Bool, (any Channel)?) in
            if state.isClosed { return (false, nil) }
            var silent: (any Channel)?
            if state.open.count >= HTTPEndpoint.maximumConnections,
                let oldest = state.open.min(by: { $0.value.lastWord < $1.value.lastWord })
            {
                silent = oldest.value.channel
                state.open[oldest.key] = nil
            }
            state.words += 1
            state.open[id] = Connection(channel: channel, lastWord: state.words)
            return (true, silent)
        }
        silent?.close(promise: nil)
        if isTaken {
            channel.closeFuture.whenComplete { [state] _ in
                state.withLock { _ = $0.open.removeValue(forKey: id) }
            }
        }
        return isTaken
    }

    /// A whole question came over it.
    func didAsk(_ channel: any Channel) {
        state.withLock { state in
            state.words += 1
            state.open[ObjectIdentifier(channel)]?.lastWord = state.words
        }
    }

    func closeAll() {
        let channels = state.withLock { state in
            state.isClosed = true
            return state.open.values.map(\.channel)
        }
        for channel in channels { channel.close(promise: nil) }
    }
}

/// Closes a connection whose head does not end, in bytes or in time: NIO's decoder bounds one header, not all of them
/// together.
final class HeadLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let limit: Int
    private let time: TimeAmount
    private var bytes = 0
    private var deadline: Scheduled<Void>?

    init(_ limit: Int, within time: TimeAmount) {
        self.limit = limit
        self.time = time
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if bytes == 0 {
            let channel = context.channel
            deadline = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
        }
        bytes += unwrapInboundIn(data).readableBytes
        if bytes > limit { return context.close(promise: nil) }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    /// A request was taken: the next one may have as much.
    func reset() {
        bytes = 0
        deadline?.cancel()
    }
}

/// Answers one request after the other.
final class QuestionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let handler: HTTPEndpoint.Handler
    private let connections: ConnectionList
    private var head: HTTPRequestHead?

    init(_ handler: @escaping HTTPEndpoint.Handler, _ connections: ConnectionList) {
        self.handler = handler
        self.connections = connections
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            connections.didAsk(context.channel)
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
