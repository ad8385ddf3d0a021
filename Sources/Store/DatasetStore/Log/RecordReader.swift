import ObjectStore
import Synchronization

/// Reads the objects of many records, several at a time: in a bucket each of them is a round trip.
final class RecordReader: Sendable {
    typealias Answer = Result<[UInt8], ObjectStoreError>

    /// Records to ask for in one call, which are in memory together: 64 MiB if all were as long as may be, usually 20 KiB.
    static let batch: UInt64 = 64
    private static let threads = 16

    private let store: any ObjectStore
    private let keys: [ObjectKey]
    private let next = Atomic(0)
    private let answers: Mutex<[Answer?]>

    private init(_ keys: [ObjectKey], _ store: any ObjectStore) {
        self.keys = keys
        self.store = store
        answers = Mutex(Array(repeating: nil, count: keys.count))
    }

    /// What the store answers for each key, in their order.
    static func read(_ keys: [ObjectKey], from store: any ObjectStore) -> [Answer] {
        let reader = RecordReader(keys, store)
        if keys.count < 3 {
            reader.work()
        } else {
            WorkerThreads(min(threads, keys.count), "kaml-log") { reader.work() }.join()
        }
        return reader.answers.withLock { $0.compactMap(\.self) }
    }

    static func read(_ key: ObjectKey, from store: any ObjectStore) -> Answer {
        Answer { () throws(ObjectStoreError) in try store.readAll(key, limit: LogEnvelope.maximumBytes) }
    }

    private func work() {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < keys.count else { return }
            let answer = Self.read(keys[index], from: store)
            answers.withLock { $0[index] = answer }
        }
    }
}
