/// Which chunks are being fetched, and who waits for each: single flight, with no I/O in it.
///
/// A chunk is absent from the table, or in flight with one leader and any number of waiters. The leader is told
/// `start` and owes exactly one `finish`.
struct FetchTable<Waiter>: ~Copyable {
    struct Key: Hashable {
        var container: ObjectIdentifier
        var chunk: Int
    }

    enum Role: Hashable {
        /// Nobody fetches the chunk: the caller does.
        case start
        /// Somebody does, and will answer this waiter too.
        case wait
    }

    private var inFlight: [Key: [Waiter]] = [:]

    var count: Int { inFlight.count }

    func isInFlight(_ key: Key) -> Bool { inFlight[key] != nil }

    /// Enters a waiter for a chunk that is not at hand.
    mutating func request(_ key: Key, _ waiter: Waiter) -> Role {
        if inFlight[key]?.append(waiter) != nil { return .wait }
        inFlight[key] = [waiter]
        return .start
    }

    /// Takes a chunk that nobody asked for yet; false when somebody fetches it already.
    mutating func requestAhead(_ key: Key) -> Bool {
        if inFlight[key] != nil { return false }
        inFlight[key] = []
        return true
    }

    /// Those who wait now, in the order they came: the leader answers them before it is done.
    mutating func takeWaiters(_ key: Key) -> [Waiter] {
        guard let waiters = inFlight[key] else { return [] }
        inFlight[key] = []
        return waiters
    }

    /// The leader is done, for better or worse. Those to tell, in the order they came.
    mutating func finish(_ key: Key) -> [Waiter] {
        guard let waiters = inFlight.removeValue(forKey: key) else {
            preconditionFailure("a chunk was finished that nobody had started")
        }
        return waiters
    }
}
