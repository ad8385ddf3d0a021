import ObjectStore
import System

/// Makes reference packs durable beside the work: each is one small write, which takes as long as the store takes.
final class ReferencePublisher: @unchecked Sendable {
    // Sendable: all state is under the monitor.
    private struct Item {
        var key: ObjectKey
        var bytes: [UInt8]
    }

    private struct State {
        var queue: [Item] = []
        var isClosed = false
        var error: StoreError?
        var packs: UInt64 = 0
        var bytes: UInt64 = 0
    }

    /// Threads, and so writes under way at once.
    static let width = 16
    /// Packs that may wait.
    private static let limit = 64

    private let store: any ObjectStore
    private let state = Monitor(State())

    init(_ store: any ObjectStore) { self.store = store }

    /// What was made so far.
    var published: (packs: UInt64, bytes: UInt64) { state.withLock { ($0.packs, $0.bytes) } }

    /// Waits while too many wait. Throws what an earlier pack met.
    func submit(_ builder: ReferencePackBuilder) throws(StoreError) -> PackReference {
        let (bytes, pack) = try builder.finish()
        let item = Item(key: pack.key, bytes: bytes)
        let error = state.wait { state -> StoreError?? in
            if let error = state.error { return .some(error) }
            guard state.queue.count < Self.limit else { return nil }
            state.queue.append(item)
            return .some(nil)
        }
        if let error { throw error }
        state.wake()
        return pack
    }

    /// The body of a publishing thread: returns when the queue is closed and empty, or something failed.
    func run() {
        while let item = next() {
            do throws(ObjectStoreError) {
                _ = try store.createIfAbsent(item.key, item.bytes)
                state.withLock { state in
                    state.packs += 1
                    state.bytes += UInt64(item.bytes.count)
                }
            } catch {
                let error = StoreError(error)
                state.withLock { $0.error = $0.error ?? error }
            }
            state.wake()
        }
    }

    private func next() -> Item? {
        state.wait { state -> Item?? in
            if state.error != nil { return .some(nil) }
            if !state.queue.isEmpty { return state.queue.removeFirst() }
            return state.isClosed ? .some(nil) : nil
        }
    }

    /// No more will come; with `discarding` what waits is dropped.
    func close(discarding: Bool = false) {
        state.withLock { state in
            state.isClosed = true
            if discarding { state.queue = [] }
        }
        state.wake()
    }

    func throwIfFailed() throws(StoreError) {
        if let error = state.withLock({ $0.error }) { throw error }
    }
}
