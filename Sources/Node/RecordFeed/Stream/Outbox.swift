import Glibc
import System

/// Notices on their way to a pod, in order, with their descriptors. One thread at a time.
struct Outbox: ~Copyable {
    private struct Notice {
        var bytes: [UInt8]
        /// To be closed when they are sent.
        var descriptors: [Int32]
    }

    private var waiting: [Notice] = []
    /// Segments that go together in one message.
    private var announced: [SegmentAnnouncement] = []
    private var files: [Int32] = []

    /// As many descriptors as one message takes.
    private static let most = 8

    deinit {
        for notice in waiting { for file in notice.descriptors { close(file) } }
        for file in files { close(file) }
    }

    var isEmpty: Bool { waiting.isEmpty && announced.isEmpty }

    mutating func add(_ reply: FeedReply) {
        gather()
        waiting.append(Notice(bytes: reply.encoded(id: 0), descriptors: []))
    }

    /// Takes over the descriptor.
    mutating func announce(_ segment: SegmentAnnouncement, _ file: consuming FileDescriptor) {
        announced.append(segment)
        files.append(file.release())
        if files.count == Self.most { gather() }
    }

    private mutating func gather() {
        if announced.isEmpty { return }
        waiting.append(Notice(bytes: FeedReply.segments(announced).encoded(id: 0), descriptors: files))
        announced = []
        files = []
    }

    /// Sends what the pod takes now. False when something is left.
    ///
    /// - Throws: what ends the connection.
    mutating func flush(_ send: ([UInt8], [Int32]) throws(Errno) -> Void) throws(Errno) -> Bool {
        gather()
        var sent = 0
        defer { waiting.removeFirst(sent) }
        for notice in waiting {
            do throws(Errno) { try send(notice.bytes, notice.descriptors) } catch {
                // Its queue is full, or too many descriptors are on their way to its user.
                if error == .wouldBlock || error == Errno(rawValue: ETOOMANYREFS) { return false }
                throw error
            }
            for file in notice.descriptors { close(file) }
            sent += 1
        }
        return true
    }
}
