import RecordIndex
import System

/// What takes time of a session's requests: done on a thread of its own, with an answer at the end.
struct SessionWork: Sendable {
    /// How a request ended.
    enum Outcome: Sendable {
        case reply(FeedReply, descriptors: [FileHandle] = [])
        case opened(OpenStream, StreamInformation)
    }

    /// A descriptor that lives as long as the object.
    final class FileHandle: Sendable {
        let file: FileDescriptor
        init(_ file: consuming FileDescriptor) { self.file = file }
    }

    let opening: StreamOpening

    func run(_ operation: FeedRequest.Operation, for connection: FeedConnection) -> Outcome {
        do throws(FeedFailure) {
            let files = FileRequests(datasets: opening.datasets, opened: connection.opened)
            switch operation {
            case .openStream(let request):
                let (stream, information) = try opening.open(request, for: connection)
                return .opened(stream, information)
            case .readBatch(let position, let offset):
                guard case .inline(let stream)? = connection.stream else {
                    throw .invalid("the session has no inline stream")
                }
                return .reply(.piece(try stream.piece(position: position, offset: offset)))
            case .stat(let request): return .reply(try files.stat(request, for: connection.peer))
            case .list(let request, let after):
                return .reply(try files.list(request, after: after, for: connection.peer))
            case .read(let request, let offset, let length, let takesSlot):
                return try read(request, offset, length, takesSlot, files, connection)
            case .hello, .seek, .closeStream: return .reply(.done)
            }
        } catch {
            return .reply(.failure(error))
        }
    }

    private func read(
        _ request: FileRequest, _ offset: UInt64, _ length: Int, _ takesSlot: Bool, _ files: FileRequests,
        _ connection: FeedConnection
    ) throws(FeedFailure) -> Outcome {
        let (dataset, inode, size) = try files.file(request, for: connection.peer)
        let wanted = offset < size ? Int(min(UInt64(length), size - offset)) : 0
        let isEnd = { (count: Int) in offset + UInt64(count) >= size }
        guard offset < size else { return .reply(.bytes([], isEnd: true)) }
        do throws(Errno) {
            if takesSlot, wanted > FeedLimits.inlineBytes {
                let (slab, isNew) = try connection.reading.take(connection.memory, connection.segments)
                let count = min(wanted, SlotReads.bytes)
                let target = unsafe UnsafeMutableRawBufferPointer(rebasing: slab.memory.bytes[..<count])
                let done = try unsafe dataset.files.readAndWait(inode, at: offset, into: target)
                let reply = FeedReply.slotBytes(
                    segment: slab.segment, offset: 0, length: done, isEnd: isEnd(done))
                guard isNew else { return .reply(reply) }
                let file = FileHandle(try slab.memory.descriptor.duplicate())
                try connection.send(
                    FeedReply.segments([
                        SegmentAnnouncement(id: slab.segment, bytes: UInt64(SlotReads.bytes), isCache: false)
                    ]).encoded(id: 0), descriptors: [file.file.rawValue])
                return .reply(reply)
            }
            var bytes = [UInt8](repeating: 0, count: min(wanted, FeedLimits.inlineBytes))
            let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
                Result { () throws(Errno) in
                    try unsafe dataset.files.readAndWait(inode, at: offset, into: buffer)
                }
            }
            let done = try outcome.get()
            bytes.removeLast(bytes.count - done)
            return .reply(.bytes(bytes, isEnd: isEnd(done)))
        } catch {
            throw FeedFailure(
                .unavailable, "\(dataset.name):\(request.path) cannot be read: \(error)",
                remedy: "The agent's log says why")
        }
    }
}
