import System

/// Work that one thread does at a time and that may wait for the disk: nobody spins or holds a lock meanwhile.
final class Turn: Sendable {
    private let isTaken = Monitor(false)

    func take<Value>(_ body: () -> Value) -> Value {
        isTaken.wait { isTaken in
            defer { isTaken = true }
            return isTaken ? nil : ()
        }
        defer {
            isTaken.withLock { $0 = false }
            isTaken.wake()
        }
        return body()
    }
}
