import Glibc
package import RecordIndex
import Synchronization
package import System
import Telemetry

/// The agent's side of the feed: pods connect to a Unix socket, and get their batches over shared memory.
///
/// - `Wire`: what crosses the socket, bounded where it comes in.
/// - `Session`: which request may follow which, as a state machine without I/O.
/// - `Rings`, `Slots`: the memory that is shared, and who may write what of it.
/// - `Lending`: containers of the cache that pods map themselves (plane M).
/// - `Stream`: a stream's plan (positions to places), its batches, and the thread that gives them out.
/// - `Server`: this: one thread that listens, reads requests and sees pods go. What takes time is done on threads of its
///   own. When a connection ends everything of its session goes, and nothing of it has a name anywhere.
package final class FeedServer: Sendable {
    private let listener: MessageSocket
    private let work: SessionWork
    private let options: FeedOptions
    private let memory: SlabBudget
    private let metrics: FeedMetrics
    private let notice: @Sendable (String) -> Void

    private let poller: Poller
    private let wake: Event
    private let inbox = Monitor(Inbox())
    private let isStopping = Atomic(false)
    private let hasStopped = Monitor(false)
    private let workers: WorkThreads

    /// What other threads have for the server's.
    private struct Inbox {
        var finished: [(connection: UInt64, id: UInt64, outcome: SessionWork.Outcome)] = []
        var misused: [(connection: UInt64, misuse: FeedMisuse)] = []
    }

    private static let listenerKey: UInt64 = 0
    private static let wakeKey: UInt64 = 1
    /// Messages that one connection is heard for before the next.
    private static let turn = 16

    /// `listener`: non-blocking. `notice` takes one line for the log, from any thread.
    package init(
        listener: consuming MessageSocket, datasets: any FeedDatasets, indexes: RecordIndexes,
        lending: FeedLending, options: FeedOptions, notice: @escaping @Sendable (String) -> Void
    ) throws(Errno) {
        self.listener = listener
        self.options = options
        self.notice = notice
        let memory = SlabBudget(limit: options.memory)
        let metrics = FeedMetrics(memory)
        (self.memory, self.metrics) = (memory, metrics)
        work = SessionWork(
            opening: StreamOpening(
                datasets: datasets, indexes: indexes, lending: lending, options: options, metrics: metrics))
        workers = WorkThreads(name: "kaml-feed-work", most: 4)
        poller = try Poller()
        wake = try Event()
        try poller.add(self.listener.rawValue, .read, key: Self.listenerKey)
        try poller.add(wake.rawValue, [.read, .edge], key: Self.wakeKey)
    }

    package func start() throws(Errno) {
        try Thread(name: "kaml-feed") { [self] in
            var state = State(quota: SessionQuota(options.sessions))
            run(&state)
            hasStopped.withLock { $0 = true }
            hasStopped.wake()
        }
        .detach()
    }

    /// Ends all sessions, whose pods see the socket close. Blocks for as long as the server's thread is at a request.
    package func stop() {
        isStopping.store(true, ordering: .releasing)
        wake.signal()
        hasStopped.wait { $0 ? () : nil }
    }

    /// How many there are now.
    package var level: (sessions: Int, streams: Int) { metrics.level }

    /// Shared memory of all sessions.
    package var slabBytes: Int { memory.usedBytes }

    // MARK: - The thread

    private struct State {
        var connections: [UInt64: FeedConnection] = [:]
        var quota: SessionQuota
        /// Connections beyond the quota that were not told yet; few, and they do not count.
        var refused: [UInt64] = []
        var last: UInt64 = 1
        var isRefusing = false
    }

    private func run(_ state: inout State) {
        while !isStopping.load(ordering: .acquiring) {
            var ready: [(key: UInt64, events: Poller.Events)] = []
            do throws(Errno) {
                try poller.wait(milliseconds: state.isRefusing ? 20 : nil) { ready.append(($0, $1)) }
            } catch {
                notice("the feed ends, since its sockets cannot be watched: \(error)")
                break
            }
            takeInbox(&state)
            for (key, events) in ready {
                if key == Self.listenerKey || key == Self.wakeKey { continue }
                guard let connection = state.connections[key] else { continue }
                serve(connection, events, &state)
            }
            accept(&state)
        }
        for connection in state.connections.values { drop(connection, &state) }
    }

    private func accept(_ state: inout State) {
        for _ in 0..<Self.turn {
            do throws(Errno) {
                guard let socket = try listener.accept() else {
                    state.isRefusing = false
                    return
                }
                try admit(socket, &state)
            } catch {
                // No descriptor or no memory is left: it passes.
                if !state.isRefusing {
                    notice("feed connections cannot be accepted (\(error)); trying again")
                }
                state.isRefusing = true
                return
            }
        }
        // Others wait: the listener stays readable, so the next turn comes at once.
    }

    private func admit(_ socket: consuming MessageSocket, _ state: inout State) throws(Errno) {
        let identity = try socket.peer()
        let peer = FeedPeer(user: identity.user, group: try socket.peerGroup(), process: identity.process)
        // Told when it asks: a connection that is closed with a request unread takes its messages along.
        let refusal = state.quota.admit(user: peer.user)
        if refusal != nil {
            metrics.sessionRefused()
            if state.refused.count >= Self.turn, let oldest = state.connections[state.refused.removeFirst()] {
                drop(oldest, &state)
            }
        }
        state.last += 1
        let number = state.last
        let connection = FeedConnection(
            number: number, peer: peer, process: socket.peerProcess(), socket: socket,
            session: FeedSession(number: number, agent: options.agent, refusal: refusal),
            memory: SlabBudget(limit: options.sessionMemory, of: memory)
        ) { [inbox, wake = WakeHandle(self)] number, misuse in
            inbox.withLock { $0.misused.append((number, misuse)) }
            wake.signal()
        }
        do throws(Errno) { try poller.add(connection.rawValue, .read, key: number) } catch {
            if refusal == nil { state.quota.ended(user: peer.user) }
            throw error
        }
        state.connections[number] = connection
        if refusal == nil { metrics.sessionBegan() } else { state.refused.append(number) }
    }

    fileprivate func wakeUp() { wake.signal() }

    private func drop(
        _ connection: FeedConnection, _ state: inout State, _ reason: FeedEndLabel = .closed
    ) {
        guard state.connections.removeValue(forKey: connection.number) != nil else { return }
        poller.remove(connection.rawValue)
        connection.end()
        if connection.session.isRefused { return state.refused.removeAll { $0 == connection.number } }
        state.quota.ended(user: connection.peer.user)
        metrics.sessionEnded(reason)
    }

    /// Tells the pod why, and ends its session.
    private func end(
        _ connection: FeedConnection, _ failure: FeedFailure, id: UInt64, _ state: inout State,
        _ reason: FeedEndLabel = .misuse
    ) {
        if connection.session.isRefused {
            try? connection.send(FeedReply.failure(failure).encoded(id: id), descriptors: [])
            return drop(connection, &state)
        }
        notice(
            "feed session \(connection.number) of user \(connection.peer.user) (process \(connection.peer.process)) ended: \(failure)"
        )
        try? connection.send(FeedReply.failure(failure).encoded(id: id), descriptors: [])
        drop(connection, &state, reason)
    }

    // MARK: - Requests

    private func serve(_ connection: FeedConnection, _ events: Poller.Events, _ state: inout State) {
        if events.contains(.end) { return drop(connection, &state) }
        for _ in 0..<Self.turn where !connection.session.isBusy {
            do throws(Errno) {
                guard let message = try connection.receive() else { return drop(connection, &state) }
                guard message.descriptors.count == 0 else {
                    return end(connection, .invalid("a pod sends no descriptors"), id: 0, &state)
                }
                guard answer(message.bytes, connection, &state) else { return }
            } catch {
                if error == .wouldBlock { return }
                if error == Errno(rawValue: EMSGSIZE) {
                    return end(
                        connection, .invalid("a message is too large, or brings descriptors"), id: 0, &state)
                }
                return drop(connection, &state)
            }
        }
    }

    /// False when the connection is not to be heard further now.
    private func answer(_ bytes: [UInt8], _ connection: FeedConnection, _ state: inout State) -> Bool {
        let request: FeedRequest
        do throws(UnreadRequest) { request = try FeedRequest.decode(bytes) } catch {
            if error.id == 0 {
                end(connection, error.failure, id: 0, &state)
                return false
            }
            return reply(.failure(error.failure), to: error.id, connection, &state)
        }
        switch connection.session.decide(request.operation) {
        case .answer(let answer): return reply(answer, to: request.id, connection, &state)
        case .end(let failure):
            end(connection, failure, id: request.id, &state)
            return false
        case .closeStream:
            connection.closeStream()
            return reply(.done, to: request.id, connection, &state)
        case .seek(let position, let generation):
            // Before the order: what is given out from now on belongs to this seek.
            let goesOn = reply(.done, to: request.id, connection, &state)
            if case .rings(let stream)? = connection.stream {
                stream.seek(to: position, generation: generation)
            }
            return goesOn
        case .run(let operation):
            try? poller.change(connection.rawValue, [], key: connection.number)
            run(operation, request.id, connection)
            return false
        }
    }

    private func reply(
        _ reply: FeedReply, to id: UInt64, _ connection: FeedConnection, _ state: inout State,
        descriptors: [Int32] = []
    ) -> Bool {
        do throws(Errno) {
            try connection.send(reply.encoded(id: id), descriptors: descriptors)
            return true
        } catch {
            // Gone, or it asks without reading the answers.
            drop(connection, &state)
            return false
        }
    }

    private func run(_ operation: FeedRequest.Operation, _ id: UInt64, _ connection: FeedConnection) {
        let number = connection.number
        let job: @Sendable () -> Void = { [self] in
            let outcome = work.run(operation, for: connection)
            inbox.withLock { $0.finished.append((number, id, outcome)) }
            wake.signal()
        }
        if case .openStream = operation {
            // It may wait for an index, for minutes: not on a thread that others wait for.
            do throws(Errno) { return try Thread(name: "kaml-feed-open", job).detach() } catch {}
        }
        workers.add(job)
    }

    private func takeInbox(_ state: inout State) {
        let taken = inbox.withLock { inbox in
            defer { inbox = Inbox() }
            return inbox
        }
        for (number, misuse) in taken.misused {
            guard let connection = state.connections[number] else { continue }
            end(connection, .invalid("\(misuse)", remedy: "Update the pod's libkaml"), id: 0, &state)
        }
        for (number, id, outcome) in taken.finished {
            guard let connection = state.connections[number] else {
                if case .opened(let stream, _) = outcome { stream.end() }
                continue
            }
            finish(outcome, id, connection, &state)
        }
    }

    private func finish(
        _ outcome: SessionWork.Outcome, _ id: UInt64, _ connection: FeedConnection, _ state: inout State
    ) {
        var goesOn: Bool
        switch outcome {
        case .reply(let answer, let descriptors):
            goesOn = reply(
                answer, to: id, connection, &state, descriptors: descriptors.map { $0.file.rawValue })
        case .opened(let stream, let information):
            connection.stream = stream
            switch stream {
            case .inline:
                connection.session.streamOpened(isInline: true)
                goesOn = reply(.streamInfo(information), to: id, connection, &state)
            case .rings(let rings):
                connection.session.streamOpened(isInline: false)
                goesOn = reply(
                    .streamInfo(information), to: id, connection, &state,
                    descriptors: [
                        rings.completions.memory.descriptor.rawValue,
                        rings.submissions.memory.descriptor.rawValue, rings.podEvent.rawValue,
                    ])
                do throws(Errno) { if goesOn { try rings.start() } } catch {
                    end(
                        connection,
                        FeedFailure(
                            .exhausted, "there is no thread for a stream: \(error)", remedy: "Try again"),
                        id: 0, &state, .closed)
                    goesOn = false
                }
            }
        }
        connection.session.finished()
        if goesOn { try? poller.change(connection.rawValue, .read, key: connection.number) }
    }
}

/// Wakes a server that may be gone.
private struct WakeHandle: Sendable {
    private weak let server: FeedServer?
    init(_ server: FeedServer) { self.server = server }
    func signal() { server?.wakeUp() }
}
