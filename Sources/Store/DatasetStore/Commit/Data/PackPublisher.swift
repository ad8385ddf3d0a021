import ObjectStore
import System

/// Makes finished packs durable beside the work: a sync takes as long as the disk takes.
final class PackPublisher: @unchecked Sendable {
    // Sendable: all state is under the monitor; a pack's writer has one owner at a time.
    private struct Item: @unchecked Sendable {
        var writer: PackWriter
        var own: OwnPack
        var fileSize: UInt64?
    }

    private struct State {
        var queue: [Item] = []
        var running = 0
        var isClosed = false
        var error: StoreError?
        var publishedBytes: UInt64 = 0
    }

    /// Packs that may wait or be under way; each keeps a file open.
    private static let limit = 8

    private let state = Monitor(State())

    var publishedBytes: UInt64 { state.withLock { $0.publishedBytes } }

    /// Waits while too many are under way. Throws what an earlier pack met.
    func submit(_ writer: PackWriter, _ own: OwnPack, fileSize: UInt64? = nil) throws(StoreError) {
        let item = Item(writer: writer, own: own, fileSize: fileSize)
        let error = state.wait { state -> StoreError?? in
            if let error = state.error { return .some(error) }
            guard state.queue.count + state.running < Self.limit else { return nil }
            state.queue.append(item)
            return .some(nil)
        }
        if let error {
            writer.abandon()
            throw error
        }
        state.wake()
    }

    /// The body of a publishing thread: returns when the queue is closed and empty.
    func run() {
        while true {
            let item = state.wait { state -> Item?? in
                if !state.queue.isEmpty {
                    state.running += 1
                    return .some(state.queue.removeFirst())
                }
                return state.isClosed ? .some(nil) : nil
            }
            guard let item else { return }
            publish(item)
            state.wake()
        }
    }

    private func publish(_ item: Item) {
        let hasFailed = state.withLock { $0.error != nil }
        do throws(ObjectStoreError) {
            if hasFailed {
                item.writer.abandon()
            } else {
                let reference = try item.writer.publish(fileSize: item.fileSize)
                item.own.reference = reference
                state.withLock { $0.publishedBytes += reference.objectSize }
            }
        } catch {
            let error = StoreError(error)
            state.withLock { $0.error = $0.error ?? error }
        }
        state.withLock { $0.running -= 1 }
    }

    /// Lets the threads end once the queue is empty.
    func close() {
        state.withLock { $0.isClosed = true }
        state.wake()
    }

    /// Stops publishing; what waits is thrown away.
    func cancel(_ error: StoreError) {
        state.withLock { $0.error = $0.error ?? error }
        state.wake()
    }

    func throwIfFailed() throws(StoreError) {
        if let error = state.withLock({ $0.error }) { throw error }
    }
}
