import System

/// One conversation with the holder: a question, its answer.
final class HolderConnection: Sendable {
    private let path: ByteString
    private let socket: MessageSocket
    /// Of the holder: another one after a restart.
    let process: Int32

    /// Longer than the holder needs to find out that a mount is there that does not answer.
    private static let timeoutMilliseconds: UInt32 = 5000

    /// Connects and takes the ownership of the mounts.
    init(to path: ByteString) throws(HolderError) {
        self.path = path
        do throws(Errno) {
            socket = try MessageSocket.connect(to: path)
            try socket.setTimeout(milliseconds: Self.timeoutMilliseconds)
        } catch {
            throw .unreachable(socket: path, error)
        }
        let answer = try Self.exchange(socket, path, .hello(version: HolderLimits.protocolVersion), [])
        switch answer.reply {
        case .welcome(let version, let process):
            guard version == HolderLimits.protocolVersion else { throw .otherVersion(theirs: version) }
            self.process = process
        case .refused(let refusal): throw .refused(refusal)
        default: throw .malformedAnswer
        }
    }

    struct Answer: ~Copyable {
        let reply: HolderReply
        var descriptors: ReceivedDescriptors
    }

    /// Asks, and waits for the answer. A refusal is thrown.
    func ask(_ request: HolderRequest, descriptors: [Int32] = []) throws(HolderError) -> Answer {
        let answer = try Self.exchange(socket, path, request, descriptors)
        if case .refused(let refusal) = answer.reply { throw .refused(refusal) }
        return answer
    }

    private static func exchange(
        _ socket: borrowing MessageSocket, _ path: ByteString, _ request: HolderRequest,
        _ descriptors: [Int32]
    ) throws(HolderError) -> Answer {
        let message: MessageSocket.Message?
        do throws(Errno) {
            try socket.send(request.encoded(), descriptors: descriptors)
            message = try socket.receive(limit: HolderLimits.messageBytes)
        } catch {
            throw .noAnswer(socket: path, error)
        }
        guard let message else { throw .noAnswer(socket: path, Errno.connectionReset) }
        let reply = try HolderReply.decoded(message.bytes)
        return Answer(reply: reply, descriptors: message.takeDescriptors())
    }
}
