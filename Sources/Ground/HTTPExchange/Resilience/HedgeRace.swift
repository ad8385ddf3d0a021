import Synchronization
import System

/// Two requests for the same bytes: the first answer is taken, the other request is cancelled.
final class HedgeRace: Sendable {
    enum Runner { case first, second }

    private enum Second {
        case notSent
        case running
        case ended(AttemptResult)
    }

    private struct State {
        var winner: Runner?
        /// The first ended before a second was sent: none is needed.
        var isOver = false
        var second = Second.notSent
        var send: (@Sendable (HedgeRace) -> AttemptResult)?
        var waiting: Parker?
    }

    let first = HTTPCancellation()
    let second = HTTPCancellation()
    private let state: Mutex<State>

    /// `send` makes the second attempt, on whatever thread.
    init(_ send: @escaping @Sendable (HedgeRace) -> AttemptResult) { state = Mutex(State(send: send)) }

    /// Whether a second request has no use any more.
    var isDecided: Bool { state.withLock { $0.isOver || $0.winner != nil } }

    /// A good head has come. Only who gets true may tell the receiver, from now on alone.
    func claim(_ runner: Runner) -> Bool {
        let isWinner = state.withLock { state in
            if state.winner == nil, !state.isOver { state.winner = runner }
            return state.winner == runner
        }
        if isWinner {
            switch runner {
            case .first: second.cancel()
            case .second: first.cancel()
            }
        }
        return isWinner
    }

    func runSecond() {
        let send = state.withLock { state -> (@Sendable (HedgeRace) -> AttemptResult)? in
            guard state.winner == nil, !state.isOver, let send = state.send else { return nil }
            state.send = nil
            state.second = .running
            return send
        }
        guard let send else { return }
        let result = send(self)
        let parker = state.withLock { state in
            state.second = .ended(result)
            return state.waiting
        }
        parker?.unpark()
    }

    /// The first request has ended so; returns how the race did. Waits for the second one where it may still win.
    func firstEnded(_ result: AttemptResult) -> AttemptResult {
        let parker = state.withLock { state -> Parker? in
            state.send = nil
            if state.winner == .first { return nil }
            if case .notSent = state.second {
                state.isOver = true
                return nil
            }
            let parker = Parker()
            state.waiting = parker
            return parker
        }
        guard let parker else { return result }
        while true {
            let ended = state.withLock { state -> AttemptResult? in
                guard case .ended(let second) = state.second else { return nil }
                return state.winner == .second ? second : result
            }
            if let ended { return ended }
            parker.park()
        }
    }
}
