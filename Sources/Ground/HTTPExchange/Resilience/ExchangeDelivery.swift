import Synchronization

/// What the caller of one exchange is told, over all attempts: one head, then every byte once.
///
/// Touched by one attempt at a time: attempts follow each other, and of two that race only the winner comes here.
final class ExchangeDelivery: @unchecked Sendable {
    // Sendable: the race's lock hands it from thread to thread.
    /// Nil once the exchange is over: the loser of a race may hold this for a while yet, and the receiver is the caller's.
    private var receiver: (any HTTPReceiver)?
    private let statistics: ResilienceCounters
    private(set) var progress: ReadProgress
    /// The receiver threw this: the exchange is over.
    private(set) var refusal: HTTPError?

    init(_ request: HTTPRequest, _ receiver: any HTTPReceiver, _ statistics: ResilienceCounters) {
        self.receiver = receiver
        self.statistics = statistics
        self.progress = ReadProgress(request)
    }

    /// Nothing is told any more. For the thread of the exchange, when no attempt can win.
    func end() { receiver = nil }

    func accept(_ head: HTTPResponseHead) throws(HTTPError) {
        do {
            if try progress.accept(head) { try receiver?.receive(head) }
        } catch {
            refusal = error
            throw error
        }
    }

    func take(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        do {
            guard let receiver else { return false }
            let wantsMore = unsafe try receiver.receive(bytes)
            progress.took(bytes.count)
            statistics.add(bytes: bytes.count)
            return wantsMore
        } catch {
            refusal = error
            throw error
        }
    }
}
