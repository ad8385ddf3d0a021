import System

/// Ends all that one exchange is doing when its caller cancels it: attempts, and waiting between them.
final class ExchangeControl: Sendable {
    private struct State {
        var isCancelled = false
        var parker: Parker?
        var attempts: [HTTPCancellation] = []
    }
    private let state = Monitor(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    func cancel() {
        let (parker, attempts) = state.withLock { state in
            state.isCancelled = true
            return (state.parker, state.attempts)
        }
        parker?.unpark()
        for attempt in attempts { attempt.cancel() }
    }

    /// Where the exchange is about to sleep.
    func use(_ parker: Parker?) {
        let isCancelled = state.withLock { state in
            state.parker = parker
            return state.isCancelled
        }
        if isCancelled { parker?.unpark() }
    }

    func add(_ attempt: HTTPCancellation) {
        let isCancelled = state.withLock { state in
            state.attempts.append(attempt)
            return state.isCancelled
        }
        if isCancelled { attempt.cancel() }
    }

    func remove(_ attempt: HTTPCancellation) { state.withLock { $0.attempts.removeAll { $0 === attempt } } }
}
