package import FuseMount
import Glibc
package import System

/// A mount that the holder keeps, as its new agent gets it.
package struct FoundMount: ~Copyable, Sendable {
    package let held: HeldMount
    package let attached: AttachedMount

    package consuming func takeAttached() -> AttachedMount { attached }
}

/// The agent's side: mounts that outlive this process.
///
/// Blocks its callers. Owns the mounts from its first question until it goes away, and finds its way back to a
/// holder that was restarted, which it gives what that one has forgotten.
package final class HolderClient: MountHolding {
    private struct State {
        var connection: HolderConnection?
        var controls: [UInt64: Weak] = [:]
        var nextKey: UInt64 = 0
        /// After a failure nobody waits for the holder again before this time (monotonic nanoseconds).
        var notBefore: UInt64 = 0
    }
    private struct Weak { weak var control: HolderControl? }

    private let path: ByteString
    private let state: Monitor<State>
    private static let pauseNanoseconds: UInt64 = 1_000_000_000

    /// Asks nothing yet.
    package init(at path: ByteString) {
        self.path = path
        state = Monitor(State())
    }

    /// Connects, as `connect` does.
    package convenience init(socket path: ByteString, patienceMilliseconds: Int = 5000) throws(HolderError) {
        self.init(at: path)
        try connect(patienceMilliseconds: patienceMilliseconds)
    }

    /// Waits up to `patience` for an earlier agent's socket to be closed. To be called while no mount is served.
    package func connect(patienceMilliseconds: Int = 5000) throws(HolderError) {
        var attemptsLeft = max(1, patienceMilliseconds / 10)
        while true {
            let attempt = Result { () throws(HolderError) in try connect() }
            attemptsLeft -= 1
            guard case .failure(.refused(.owned)) = attempt, attemptsLeft > 0 else {
                try attempt.get()
                return
            }
            usleep(10_000)
        }
    }

    private func connect() throws(HolderError) {
        try state.withLock { state throws(HolderError) in
            state.connection = try HolderConnection(to: path)
        }
    }

    /// Whether the holder answers, within seconds. One that was restarted gets back what it has forgotten.
    package func check() throws(HolderError) { _ = try ask(.next(after: .max)) }

    /// The process that holds the mounts; nil while it cannot be reached.
    package var holderProcess: Int32? { state.withLock { $0.connection?.process } }

    // MARK: - Mounts

    package func attach(
        _ options: MountOptions, description: [UInt8]
    ) throws(MountError) -> AttachedMount {
        var made: UInt64?
        do throws(HolderError) {
            let openFiles = try Self.memory()
            var answer = try ask(
                .mount(options, description: description), descriptors: [openFiles.rawValue],
                repeatable: false)
            guard case .held(let held) = answer.reply else { throw HolderError.malformedAnswer }
            made = held.id
            guard let device = answer.descriptors.take() else { throw HolderError.malformedAnswer }
            return try attached(held, device, openFiles)
        } catch {
            if let made { takeBack(made) }
            throw Self.mountError(options.mountPoint, error)
        }
    }

    /// Has a mount undone that was made and cannot be served. Asks the holder that made it only: at another one the id
    /// is another mount's.
    private func takeBack(_ id: UInt64) {
        state.withLock { state in
            for request in [HolderRequest.unmount(id: id, lazily: true), .forget(id: id)] {
                guard let connection = state.connection else { return }
                do throws(HolderError) {
                    _ = try connection.ask(request)
                } catch {
                    if case .noAnswer = error { state.connection = nil }
                }
            }
        }
    }

    /// Calls `body` with every mount that is held, in the order in which they were made.
    package func forEachHeld(_ body: (consuming FoundMount) -> Void) throws(HolderError) {
        var last: UInt64 = 0
        while let found = try next(after: last) {
            last = found.held.id
            body(found)
        }
    }

    /// The held mount with the lowest id above one.
    package func next(after id: UInt64) throws(HolderError) -> FoundMount? {
        var answer = try ask(.next(after: id))
        switch answer.reply {
        case .done: return nil
        case .held(let held):
            guard let device = answer.descriptors.take(), let openFiles = answer.descriptors.take() else {
                throw .malformedAnswer
            }
            return FoundMount(held: held, attached: try attached(held, device, openFiles))
        default: throw .malformedAnswer
        }
    }

    private static func memory() throws(HolderError) -> FileDescriptor {
        do throws(Errno) { return try OpenFilesMemory.make() } catch {
            throw .refused(.mount(.systemCall(name: "memfd_create", error: error)))
        }
    }

    private func attached(
        _ held: HeldMount, _ device: consuming FileDescriptor, _ openFiles: consuming FileDescriptor
    ) throws(HolderError) -> AttachedMount {
        let control: HolderControl
        do throws(Errno) {
            control = HolderControl(
                self, held, device: try device.duplicate(), openFiles: try openFiles.duplicate())
        } catch {
            throw .refused(.mount(.systemCall(name: "dup", error: error)))
        }
        state.withLock { state in
            state.controls = state.controls.filter { $0.value.control != nil }
            state.controls[state.nextKey] = Weak(control: control)
            state.nextKey += 1
        }
        return AttachedMount(
            device: device, openFiles: openFiles, handshake: held.handshake, control: control)
    }

    static func mountError(_ mountPoint: ByteString, _ error: HolderError) -> MountError {
        if case .refused(.mount(let cause)) = error { return MountError(mountPoint, cause) }
        return MountError(mountPoint, .holder(message: "\(error)"))
    }

    /// A read-only copy of the mount that a directory lies on (`ReadOnlyTree`).
    package func readOnlyTree(of directory: ByteString) throws(HolderError) -> FileDescriptor {
        let opened: FileDescriptor
        do throws(Errno) { opened = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY) } catch {
            throw .refused(.mount(.systemCall(name: "opening \(directory)", error: error)))
        }
        var answer = try ask(.readOnlyTree(directory), descriptors: [opened.rawValue])
        guard case .done = answer.reply, let tree = answer.descriptors.take() else { throw .malformedAnswer }
        return tree
    }

    // MARK: - Asking

    func ask(
        _ request: HolderRequest, descriptors: [Int32] = [], repeatable: Bool = true
    ) throws(HolderError) -> HolderConnection.Answer {
        try ask(descriptors: descriptors, repeatable: repeatable) { request }
    }

    /// `request` is made anew for a second attempt: a mount has another id at a holder that was restarted.
    func ask(
        descriptors: [Int32], repeatable: Bool, _ request: () -> HolderRequest
    ) throws(HolderError) -> HolderConnection.Answer {
        try state.withLock { state throws(HolderError) in
            let hadConnection = state.connection != nil
            if !hadConnection { try reconnect(&state) }
            do throws(HolderError) {
                return try Self.ask(&state, request(), descriptors)
            } catch {
                guard case .noAnswer = error else { throw error }
                // What was asked may still be answered: that conversation is over.
                state.connection = nil
                guard hadConnection, repeatable, !Self.isTimeout(error) else {
                    state.notBefore = HostClock().monotonicNanoseconds() &+ Self.pauseNanoseconds
                    throw error
                }
            }
            try reconnect(&state)
            return try Self.ask(&state, request(), descriptors)
        }
    }

    private static func ask(
        _ state: inout State, _ request: HolderRequest, _ descriptors: [Int32]
    ) throws(HolderError) -> HolderConnection.Answer {
        guard let connection = state.connection else { throw .malformedAnswer }
        return try connection.ask(request, descriptors: descriptors)
    }

    private static func isTimeout(_ error: HolderError) -> Bool {
        if case .noAnswer(_, .wouldBlock) = error { true } else { false }
    }

    private func reconnect(_ state: inout State) throws(HolderError) {
        let now = HostClock().monotonicNanoseconds()
        guard now >= state.notBefore else { throw .unreachable(socket: path, .wouldBlock) }
        state.notBefore = now &+ Self.pauseNanoseconds
        let connection = try HolderConnection(to: path)
        // Oldest first: one that has ended must not be taken for a newer one with its device number.
        let controls = state.controls.sorted { $0.key < $1.key }.compactMap { $0.value.control }
        try giveBack(connection, controls)
        state.connection = connection
        state.notBefore = 0
    }

    /// A holder that was restarted without keeping anything gets the mounts that this agent serves.
    private func giveBack(
        _ connection: HolderConnection, _ controls: [HolderControl]
    ) throws(HolderError) {
        var known = KnownMounts()
        var last: UInt64 = 0
        while case .held(let held) = try connection.ask(.next(after: last)).reply {
            known.insert(held)
            last = held.id
        }
        for control in controls { known.claim(control.held) }
        for control in controls {
            if let id = known.id(of: control.held) {
                control.renumber(id)
                continue
            }
            do throws(HolderError) {
                let answer = try connection.ask(.adopt(control.held), descriptors: control.descriptors)
                guard case .held(let held) = answer.reply else { throw HolderError.malformedAnswer }
                known.insert(held)
                control.renumber(held.id)
            } catch {
                // That mount's connection has ended meanwhile; its session finds out by itself.
                guard case .refused = error else { throw error }
                // Its old id may be another mount's here; this is none's.
                control.renumber(0)
            }
        }
    }
}
