package import DatasetFS
package import FuseMount
import Glibc
import Synchronization
package import System
package import Telemetry

/// How files of a mount are opened and read.
package enum MountProfile: Sendable, Hashable {
    /// For large files: the kernel reads complete files itself, with the dataset's descriptor.
    case passthrough
    /// For small files: open and close cost no message at all, nor does a warm read.
    case zeroMessageOpen
}

/// How a session ended.
package enum SessionEnd: Sendable, Hashable {
    case unmounted
    case stopped
    case failed(Errno)
}

package enum FuseSessionError: Error, Sendable, CustomStringConvertible {
    /// libfuse wrote the reason to standard error.
    case libraryRefused
    case system(String, Errno)
    /// The session ended before the kernel's INIT was answered.
    case endedEarly(SessionEnd)
    /// What an earlier process agreed with the kernel is not what was saved.
    case damagedHandshake
    /// The table of files that an earlier process left open.
    case openFilesUnreadable(String)

    package var description: String {
        switch self {
        case .libraryRefused: "libfuse refused to make a session"
        case .system(let name, let error): "\(name) failed: \(error)"
        case .endedEarly(let end): "the FUSE session ended before it served: \(end)"
        case .damagedHandshake:
            "the kept agreement with the kernel is damaged, so the mount cannot be gone on with; unmount it lazily"
        case .openFilesUnreadable(let why):
            "the kept table of open files cannot be used (\(why)), so the mount cannot be gone on with; unmount it lazily"
        }
    }
}

/// Serves one mount: libfuse's protocol code on threads of its own, over a connection that `Mounter` made.
///
/// A process must not read its own mount from the cooperative pool, nor from a thread that a callback of
/// `operations` waits for: the request would wait for the thread that waits for it.
package final class FuseSession: Sendable {
    package struct Configuration: Sendable {
        package var profile: MountProfile
        package var workers: Int
        /// What the session's bytes are counted under; nil leaves them out of the counts by dataset.
        package var dataset: String?
        /// What an operator should know once, such as that passthrough is not to be had.
        package var notice: @Sendable (String) -> Void
        /// Where the session is counted.
        package var registry = MetricsRegistry.process
        /// How long the end of the session waits for a store that does not answer.
        package var patienceMilliseconds = 5000
        /// Told once, when the last worker has left and every read that was begun is answered.
        package var ended: @Sendable (SessionEnd) -> Void = { _ in }

        package init(
            profile: MountProfile, workers: Int = FuseSession.defaultWorkers,
            dataset: String? = nil,
            notice: @escaping @Sendable (String) -> Void = { _ in }
        ) {
            self.profile = profile
            self.workers = workers
            self.dataset = dataset
            self.notice = notice
        }
    }

    /// Two a core, since a worker may wait for a page of the cache's files; at least four.
    package static var defaultWorkers: Int { max(4, 2 * sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private let core: SessionCore

    /// Takes the connection, a new one or one that an earlier process served. Nothing is served before `start`.
    package init(
        _ mount: consuming AttachedMount, operations: any InodeOperations, configuration: Configuration
    ) throws(FuseSessionError) {
        Interruption.install()
        core = try SessionCore(mount, operations: operations, configuration: configuration)
        core.registerMetrics()
    }

    /// Starts the first worker thread, which starts others when there is more to do than it can. Call once. They serve
    /// until unmounted or stopped, also when nobody holds the session any more.
    package func start() throws(FuseSessionError) {
        let core = core
        core.phases.withLock { $0.running = 1 }
        do throws(Errno) {
            try Thread(name: "kaml-fuse-0") { Self.serve(core, 0) }.detach()
        } catch {
            core.phases.withLock { phases in
                phases.running = 0
                phases.hasEnded = true
            }
            throw .system("starting a thread", error)
        }
    }

    /// Waits until the kernel's INIT is answered: from then on the mount works.
    @discardableResult
    package func waitUntilServing() throws(FuseSessionError) -> Handshake {
        let outcome: Result<Handshake, FuseSessionError> = core.phases.wait { phases in
            if let handshake = phases.handshake { return .success(handshake) }
            return phases.end.map { .failure(.endedEarly($0)) }
        }
        return try outcome.get()
    }

    /// What was agreed with the kernel, for the process that keeps the connection; `nil` before INIT.
    package var negotiated: Handshake? { core.phases.withLock { $0.handshake } }

    /// Waits until every worker has left and every read that was begun is answered, though not for long after the
    /// end for those that a store keeps waiting.
    @discardableResult
    package func waitUntilEnded() -> SessionEnd {
        let end = core.phases.wait { $0.hasEnded ? $0.end ?? .stopped : $0.end }
        _ = waitForWorkers(milliseconds: core.patienceMilliseconds * 2) { $0.hasEnded }
        return end
    }

    /// Makes the workers leave after the request each has in hand; the mount stays. Whether all had left within the
    /// time; those that had not wait for a store, and leave when it answers.
    @discardableResult
    package func stop(withinMilliseconds limit: Int? = nil) -> Bool {
        let limit = limit ?? core.patienceMilliseconds
        core.requestStop()
        return waitForWorkers(milliseconds: limit) { phases in
            if phases.running == 0 { return true }
            // Again and again: a signal that comes just before the read does not interrupt it.
            for worker in core.workers { worker.interrupt() }
            return false
        }
    }

    /// Stops serving and leaves the connection, with whatever is open and asked, to the process that takes it over.
    /// What this process has in hand is answered if that takes no longer than the time given; the rest the kernel sends
    /// again, where it can (`Handshake.offersResend`).
    @discardableResult
    package func letGo(withinMilliseconds limit: Int) -> Bool {
        defer { core.openFiles.withLock { $0.close() } }
        guard negotiated?.offersResend == false else { return stop(withinMilliseconds: limit) }
        guard stop(withinMilliseconds: limit) else { return false }
        return waitForWorkers(milliseconds: limit) { $0.hasEnded }
    }

    private func waitForWorkers(milliseconds: Int, _ condition: (SessionCore.Phases) -> Bool) -> Bool {
        for _ in 0..<max(1, milliseconds * 2) {
            if core.phases.withLock({ condition($0) }) { return true }
            usleep(500)
        }
        return false
    }

    package func statistics() -> SessionStatistics { core.statistics() }

    /// Open inodes in the passthrough profile.
    package var openInodes: Int { core.openFiles.withLock { $0.openInodes } }

    /// Starts a worker beside those that are busy or wait.
    static func startWorker(_ core: SessionCore, _ index: Int) {
        // A session that has ended has nothing left to serve, and may be going away.
        let isServing = core.phases.withLock { phases in
            guard phases.running > 0, phases.end == nil else { return false }
            phases.running += 1
            return true
        }
        guard isServing else {
            core.isGrowing.store(false, ordering: .relaxed)
            return core.crew.withLock { $0.lost(index) }
        }
        do throws(Errno) {
            try Thread(name: "kaml-fuse-\(index)") { serve(core, index) }.detach()
        } catch {
            core.crew.withLock { $0.lost(index) }
            core.mayGrow.store(core.workerCount > 1, ordering: .relaxed)
            core.isGrowing.store(false, ordering: .relaxed)
            core.phases.withLock { $0.running -= 1 }
        }
    }

    private static func serve(_ core: SessionCore, _ index: Int) {
        let worker = core.worker(index)
        worker.enter(core)
        let watch = WorkerWatch(core)
        SlowWait.observe(watch)
        defer { SlowWait.observe(nil) }
        // INIT is answered by the first worker alone: everything else waits for it anyway.
        var end: SessionEnd?
        if index == 0 {
            end = core.inherited.map { worker.takeOver(core, $0) } ?? worker.negotiate(core)
            core.phases.withLock { if let end { $0.end = $0.end ?? end } }
            core.phases.wake()
        } else {
            end = core.phases.wait { phases in
                if phases.handshake != nil { return .some(nil) }
                return phases.end.map { .some($0) }
            }
        }
        core.isGrowing.store(false, ordering: .relaxed)
        let outcome =
            end
            ?? worker.run(core) {
                index >= core.workerCount && core.crew.withLock { $0.mayLeave(index) }
            }
        worker.leave(core)
        core.crew.withLock { $0.didLeave(index) }
        let isLast = core.phases.withLock { phases in
            phases.end = phases.end ?? outcome
            phases.running -= 1
            return phases.running == 0
        }
        core.phases.wake()
        if !isLast { return }
        core.drain()
        if outcome == .unmounted { core.control.ended() }
        core.phases.withLock { $0.hasEnded = true }
        core.retireMetrics()
        core.phases.wake()
        core.ended(core.end ?? .stopped)
    }
}

/// Tells the session of a worker that waits.
private final class WorkerWatch: SlowWaitObserver {
    private let core: SessionCore

    init(_ core: SessionCore) { self.core = core }

    func willWait() {
        if let spare = core.crew.withLock({ $0.willWait() }) { FuseSession.startWorker(core, spare) }
    }

    func didWait() { core.crew.withLock { $0.didWait() } }
}
