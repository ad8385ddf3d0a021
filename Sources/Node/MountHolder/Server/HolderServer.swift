import FuseMount
import Glibc
package import System

/// Serves the holder's socket on the calling thread: one request after the other.
package final class HolderServer {
    private let listener: MessageSocket
    private let users: Set<UInt32>
    private var state: HolderState
    private var peers: [HolderState.Connection: Int32] = [:]
    private var sockets: [HolderState.Connection: Shared<MessageSocket>] = [:]
    private var lastConnection = 0
    private let notice: (String) -> Void
    /// The kernel's table of mounts: a poll for urgent data tells that it changed.
    private let mountTable: FileDescriptor
    /// Ends `run` when its other end is closed or written to.
    private let ending: FileDescriptor

    private var looks = Looks()
    /// Whether accepting has failed since it last worked; told once.
    private var isRefusingConnections = false

    package init(
        listener: consuming MessageSocket, users: Set<UInt32>, state: consuming HolderState,
        ending: consuming FileDescriptor, notice: @escaping (String) -> Void
    ) throws(Errno) {
        self.listener = listener
        self.users = users
        self.state = state
        self.ending = ending
        self.notice = notice
        mountTable = try FileDescriptor.open("/proc/self/mountinfo", O_RDONLY)
    }

    package var heldMounts: Int { state.count }

    /// Serves until the ending descriptor says so. `turn` is called between requests, at least twice in `every`.
    package func run(every milliseconds: Int32, turn: (HolderServer) -> Void) throws(Errno) {
        while true {
            turn(self)
            let connections = Array(sockets.keys)
            var polled = [
                pollfd(fd: ending.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: mountTable.rawValue, events: Int16(POLLPRI), revents: 0),
                pollfd(fd: listener.rawValue, events: Int16(POLLIN), revents: 0),
            ]
            for connection in connections {
                let socket = sockets[connection]?.value.rawValue ?? -1
                polled.append(pollfd(fd: socket, events: Int16(POLLIN), revents: 0))
            }
            let count = polled.count
            let wait = max(1, min(milliseconds / 2, looks.milliseconds(at: Self.now)))
            let ready = unsafe polled.withUnsafeMutableBufferPointer {
                unsafe poll($0.baseAddress, nfds_t(count), wait)
            }
            if ready < 0, Errno.last != .interrupted { throw .last }
            if ready > 0 {
                if polled[0].revents != 0 { return }
                if polled[1].revents != 0 { looks.changed(at: Self.now) }
                for (index, connection) in connections.enumerated() where polled[3 + index].revents != 0 {
                    serve(connection)
                }
                if polled[2].revents != 0 { acceptOrPause() }
            }
            if looks.isDue(at: Self.now) {
                for ended in state.dropEnded() {
                    notice("\(ended.mountPoint): unmounted; its connection is let go")
                }
            }
        }
    }

    private static var now: UInt64 { HostClock().monotonicNanoseconds() / 1_000_000 }

    /// What fails here (no descriptor or no memory is left) passes: it must not end the mounts that are held.
    private func acceptOrPause() {
        do throws(Errno) {
            try accept()
            isRefusingConnections = false
        } catch {
            if !isRefusingConnections {
                notice("connections cannot be accepted (\(error)); trying again until they can")
            }
            isRefusingConnections = true
            usleep(20_000)
        }
    }

    private func accept() throws(Errno) {
        guard let socket = try listener.accept() else { return }
        let peer = try socket.peer()
        guard users.contains(peer.user) else {
            return notice(
                "process \(peer.process) of user \(peer.user) was sent away: only the agent's user may ask")
        }
        if sockets.count >= HolderLimits.connections {
            // An owner is never sent away; of the others the oldest.
            let oldest = sockets.keys.filter { $0 != state.ownerConnection }.min()
            if let oldest { end(oldest) }
        }
        lastConnection += 1
        sockets[lastConnection] = Shared(socket)
        peers[lastConnection] = peer.process
    }

    /// Answers what a connection has asked so far.
    private func serve(_ connection: HolderState.Connection) {
        while let socket = sockets[connection] {
            let message: MessageSocket.Message?
            do throws(Errno) {
                message = try socket.value.receive(limit: HolderLimits.messageBytes)
            } catch .wouldBlock {
                return
            } catch Errno(rawValue: EMSGSIZE) {
                send(
                    .init(reply: .refused(.badRequest("too large, or too many descriptors"))), on: connection)
                continue
            } catch {
                return end(connection)
            }
            guard let message else { return end(connection) }
            answer(message, connection)
        }
    }

    private func answer(_ message: consuming MessageSocket.Message, _ connection: HolderState.Connection) {
        // An owner that is gone but not yet noticed must not keep its successor out.
        if let owner = state.ownerConnection, owner != connection { serve(owner) }
        let bytes = message.bytes
        let answer = state.answer(
            bytes, message.takeDescriptors(), from: connection, process: peers[connection] ?? 0)
        send(answer, on: connection)
    }

    private func send(_ answer: HolderState.Answer, on connection: HolderState.Connection) {
        guard let socket = sockets[connection] else { return }
        do throws(Errno) {
            try socket.value.send(answer.reply.encoded(), descriptors: answer.descriptors)
        } catch {
            // Gone, or it asks without reading the answers: its queue is full.
            end(connection)
        }
    }

    private func end(_ connection: HolderState.Connection) {
        sockets[connection] = nil
        peers[connection] = nil
        state.ended(connection)
    }
}

/// A value that cannot be copied, in a collection.
private final class Shared<Value: ~Copyable> {
    let value: Value
    init(_ value: consuming Value) { self.value = value }
}
