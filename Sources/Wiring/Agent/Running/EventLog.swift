import Synchronization
package import System

/// Something that happened to the agent, for people who watch.
package struct AgentEvent: Sendable, Hashable {
    package enum Severity: Sendable, Hashable { case info, warning, error }

    /// Counts from 1 in each life of the agent.
    package var sequence: UInt64
    package var time: Timestamp
    package var severity: Severity
    /// A word, such as `mounted`.
    package var kind: String
    package var message: String
    package var mount: String
}

/// The last events, and whoever waits for the next.
package final class EventLog: Sendable {
    private struct State {
        var last: UInt64 = 0
        var remembered: [AgentEvent] = []
        var watchers: [UInt64: AsyncStream<AgentEvent>.Continuation] = [:]
        var nextWatcher: UInt64 = 0
    }

    /// Events that are kept for who comes later, and for a watcher that is slow.
    package static let capacity = 1000
    private let state = Mutex(State())
    private let clock: any Clock
    private let listener: @Sendable (AgentEvent) -> Void

    /// `listener` is told of every event, such as to log it.
    package init(
        clock: any Clock = HostClock(), listener: @escaping @Sendable (AgentEvent) -> Void = { _ in }
    ) {
        self.clock = clock
        self.listener = listener
    }

    package func add(
        _ kind: String, _ message: String, severity: AgentEvent.Severity = .info, mount: String = ""
    ) {
        let event = state.withLock { state in
            state.last += 1
            let event = AgentEvent(
                sequence: state.last, time: clock.now(), severity: severity, kind: kind, message: message,
                mount: mount)
            if state.remembered.count == Self.capacity { state.remembered.removeFirst() }
            state.remembered.append(event)
            for watcher in state.watchers.values { watcher.yield(event) }
            return event
        }
        listener(event)
    }

    package func remembered(after sequence: UInt64 = 0) -> [AgentEvent] {
        state.withLock { $0.remembered.filter { $0.sequence > sequence } }
    }

    /// The remembered events after `sequence`, and then those that come. One that the reader is too slow for is left out,
    /// the oldest first.
    package func events(after sequence: UInt64) -> AsyncStream<AgentEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: AgentEvent.self, bufferingPolicy: .bufferingNewest(Self.capacity))
        let watcher = state.withLock { state in
            for event in state.remembered where event.sequence > sequence { continuation.yield(event) }
            state.nextWatcher += 1
            state.watchers[state.nextWatcher] = continuation
            return state.nextWatcher
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.watchers.removeValue(forKey: watcher) }
        }
        return stream
    }

    /// Ends every watcher's stream.
    package func close() {
        let watchers = state.withLock { state in
            defer { state.watchers = [:] }
            return Array(state.watchers.values)
        }
        for watcher in watchers { watcher.finish() }
    }
}
