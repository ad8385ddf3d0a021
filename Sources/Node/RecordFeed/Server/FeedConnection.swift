import Synchronization
import System

/// One pod's connection: its socket, its session, its stream. Everything of it goes when the connection ends.
///
/// Belongs to the server's thread; but for `send`, which streams call too.
@safe final class FeedConnection: FeedStream.Owner, @unchecked Sendable {
    // Sendable: only immutable and atomic members are used from other threads.
    let number: UInt64
    let peer: FeedPeer
    /// A descriptor of the process at the other end, so that its number stands for nobody else; none on old kernels.
    private let process: FileDescriptor?
    private let socket: MessageSocket
    private let report: @Sendable (UInt64, FeedMisuse) -> Void
    private let hasEnded = Atomic(false)
    let segments = SegmentNumbers()
    /// Of all slabs of the session.
    let memory: SlabBudget
    /// Of the stream that is open, and after it of the next one.
    let pool: SlotPool
    let opened = OpenedDatasets()

    var session: FeedSession
    var stream: OpenStream?
    /// A stream that was closed; its thread may still be on its last turn.
    var closed: FeedStream?
    let reading = SlotReads()

    init(
        number: UInt64, peer: FeedPeer, process: consuming FileDescriptor?, socket: consuming MessageSocket,
        session: FeedSession, memory: SlabBudget, report: @escaping @Sendable (UInt64, FeedMisuse) -> Void
    ) {
        self.number = number
        self.peer = peer
        self.process = process
        self.socket = socket
        self.session = session
        self.memory = memory
        pool = SlotPool(.init(bytes: memory.limit, batch: 0), budget: memory, segments: segments)
        self.report = report
    }

    var rawValue: Int32 { socket.rawValue }

    func receive() throws(Errno) -> MessageSocket.Message? {
        try socket.receive(limit: FeedLimits.messageBytes)
    }

    func send(_ bytes: [UInt8], descriptors: [Int32]) throws(Errno) {
        if hasEnded.load(ordering: .relaxed) { throw .connectionReset }
        try socket.send(bytes, descriptors: descriptors)
    }

    func streamMisused(_ misuse: FeedMisuse) { report(number, misuse) }

    /// Whether the pod is gone; jobs that run for it may give up.
    var isOver: Bool { hasEnded.load(ordering: .relaxed) }

    func closeStream() {
        stream?.end()
        if case .rings(let stream)? = stream { closed = stream }
        stream = nil
    }

    func end() {
        hasEnded.store(true, ordering: .relaxed)
        stream?.end()
        stream = nil
    }
}

/// A stream of either kind.
enum OpenStream: Sendable {
    case rings(FeedStream)
    case inline(InlineStream)

    func end() {
        if case .rings(let stream) = self { stream.end() }
    }
}
