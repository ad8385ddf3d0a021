import CFuse3
import CKamlSys
import DatasetFS
import FuseMount
import Glibc
import Synchronization
import System
import Telemetry

/// What the callbacks and the workers share. libfuse holds it as `userdata`; it owns the libfuse session.
@safe final class SessionCore: @unchecked Sendable {
    // Sendable: the libfuse session is thread-safe, `session` is set once before any thread starts, the rest
    // is immutable or behind its own lock.
    let operations: any InodeOperations
    let profile: MountProfile
    let device: Int32
    let control: any MountControl
    /// What a process that died agreed with the kernel.
    let inherited: Handshake?
    let notice: @Sendable (String) -> Void
    let patienceMilliseconds: Int
    let dataset: String?
    let ended: @Sendable (SessionEnd) -> Void
    let workerKey: pthread_key_t
    /// Those that have served; their memory stays.
    private let staff: Monitor<[Worker?]>
    let crew: Monitor<WorkerCrew>
    /// Whether another worker may have to be started. False soon where it matters: then requests cost nothing for it.
    let mayGrow: Atomic<Bool>
    /// Workers that wait for a request, while more may be started.
    let idle = Atomic<Int>(0)
    /// A worker has been started and does not wait for requests yet.
    let isGrowing = Atomic<Bool>(false)
    private static let spareWorkers = 60
    /// What threads that are no workers count: deferred replies.
    let elsewhere = CounterBlock()
    let phases = Monitor(Phases())
    let metrics: SessionMetrics
    private var registration: MetricRegistration?
    let openFiles: Monitor<OpenFiles>
    /// Cleared by the first refusal for good: asking again would cost every open a failing ioctl.
    let mayPassThrough = Atomic<Bool>(false)
    let hasNoticedBacking = Atomic<Bool>(false)

    private(set) var session: OpaquePointer?
    private let stopping = Atomic<Bool>(false)
    let isNegotiating = Atomic<Bool>(true)
    /// The INIT request, noted by the read hook for the reply's.
    private let initRequest = Mutex<[UInt8]>([])

    /// Without the spares.
    let workerCount: Int

    struct Phases {
        var handshake: Handshake?
        var running = 0
        var end: SessionEnd?
        var hasEnded = false
    }

    init(
        _ mount: consuming AttachedMount, operations: any InodeOperations,
        configuration: FuseSession.Configuration
    ) throws(FuseSessionError) {
        self.operations = operations
        control = mount.control
        inherited = mount.handshake
        if let inherited, !inherited.isComplete { throw .damagedHandshake }
        openFiles = Monitor(try Self.openFiles(mount.openFiles))
        profile = configuration.profile
        notice = configuration.notice
        metrics = SessionMetrics(configuration.registry)
        patienceMilliseconds = configuration.patienceMilliseconds
        dataset = configuration.dataset
        ended = configuration.ended
        workerCount = max(1, configuration.workers)
        let total = workerCount + Self.spareWorkers
        staff = Monitor(Array(repeating: nil, count: total))
        crew = Monitor(WorkerCrew(regular: workerCount, total: total))
        mayGrow = Atomic(workerCount > 1)
        do throws(Errno) { workerKey = try Worker.key.get() } catch {
            throw .system("pthread_key_create", error)
        }
        device = mount.device.rawValue

        let session = unsafe Self.newSession(userdata: Unmanaged.passUnretained(self).toOpaque())
        guard let session = unsafe session else { throw .libraryRefused }
        unsafe self.session = unsafe session
        var io = Self.customIO()
        // libfuse closes the descriptor with the session.
        let status2 = unsafe fuse_session_custom_io(session, &io, device)
        if status2 != 0 { throw .system("fuse_session_custom_io", Errno(rawValue: -status2)) }
        // The table is mapped; its descriptor is kept by whoever keeps the mount.
        Glibc.close(mount.release().openFiles)
    }

    private static func openFiles(_ file: borrowing FileDescriptor) throws(FuseSessionError) -> OpenFiles {
        do throws(OpenFileTableError) {
            return try OpenFiles(OpenFileTable(file))
        } catch {
            throw .openFilesUnreadable("\(error)")
        }
    }

    /// Called once, before any thread starts.
    func registerMetrics() { registration = metrics.register(self) }

    /// The session has ended: its counters stay as they are.
    func retireMetrics() { registration?.retire() }

    deinit {
        registration?.retire()
        if let session = unsafe session { unsafe fuse_session_destroy(session) }
    }

    private static func newSession(userdata: UnsafeMutableRawPointer) -> OpaquePointer? {
        // max_read here and in INIT must agree, or libfuse refuses the handshake.
        var arguments = unsafe fuse_args(argc: 0, argv: nil, allocated: 0)
        defer { unsafe fuse_opt_free_args(&arguments) }
        for argument in ["kaml", "-omax_read=\(Mounter.maxReadBytes)"] {
            if unsafe fuse_opt_add_arg(&arguments, argument) != 0 { return nil }
        }
        var operations = Callbacks.table()
        return unsafe fuse_session_new(
            &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, userdata)
    }

    var workers: [Worker] { staff.withLock { $0.compactMap(\.self) } }

    func worker(_ index: Int) -> Worker {
        staff.withLock { staff in
            if let worker = staff[index] { return worker }
            let worker = Worker(of: self)
            staff[index] = worker
            return worker
        }
    }

    // MARK: - The calling worker

    /// `nil` on a thread that is no worker of this session.
    @inline(__always)
    func withWorker<Result>(_ body: (Worker?) -> Result) -> Result {
        guard let pointer = unsafe pthread_getspecific(workerKey) else { return body(nil) }
        return unsafe Unmanaged<Worker>.fromOpaque(pointer)._withUnsafeGuaranteedRef { worker in
            // A worker of another session answers for this one, when both waited for one fetch.
            body(worker.serves(self) ? worker : nil)
        }
    }

    @inline(__always)
    func count(_ counter: Counter, _ amount: UInt64 = 1) {
        withWorker { worker in
            if let worker {
                worker.counters.addAlone(counter, amount)
            } else {
                elsewhere.addShared(counter, amount)
            }
        }
    }

    func statistics() -> SessionStatistics {
        var statistics = SessionStatistics()
        for worker in workers { worker.counters.add(to: &statistics) }
        elsewhere.add(to: &statistics)
        return statistics
    }

    // MARK: - Stopping

    var isStopping: Bool { stopping.load(ordering: .relaxed) }
    func requestStop() { stopping.store(true, ordering: .sequentiallyConsistent) }
    var end: SessionEnd? { phases.withLock { $0.end } }

    /// Waits for the reads that other threads still have to answer: their requests live in the session.
    func drain() {
        for _ in 0..<patienceMilliseconds {
            let statistics = statistics()
            if statistics.readsAnswered >= statistics.reads { return }
            usleep(1000)
        }
        notice("reads are unanswered after the session's end: its memory is left to them")
        _ = unsafe Unmanaged.passRetained(self)
    }

    /// All workers are busy. One at a time, and none before INIT is answered, since everything waits for that.
    func growCrew() {
        if isNegotiating.load(ordering: .relaxed) { return }
        if isGrowing.exchange(true, ordering: .relaxed) { return }
        let (next, isFull) = crew.withLock { ($0.allAreBusy(), $0.isFull) }
        if isFull { mayGrow.store(false, ordering: .relaxed) }
        if let next {
            FuseSession.startWorker(self, next)
        } else {
            isGrowing.store(false, ordering: .relaxed)
        }
    }

    // MARK: - The hooks under libfuse

    private static func customIO() -> fuse_custom_io {
        var io = fuse_custom_io()
        unsafe io.read = { descriptor, buffer, length, userdata in
            let count = unsafe Glibc.read(descriptor, buffer, length)
            if let userdata = unsafe userdata, let buffer = unsafe buffer, count >= Init.requestHeader {
                unsafe Unmanaged<SessionCore>.fromOpaque(userdata)._withUnsafeGuaranteedRef {
                    unsafe $0.inspect(UnsafeRawBufferPointer(start: buffer, count: count))
                }
            }
            return count
        }
        unsafe io.writev = { descriptor, pieces, count, userdata in
            guard let userdata = unsafe userdata, let pieces = unsafe pieces, count > 0 else {
                return unsafe writev(descriptor, pieces, count)
            }
            return unsafe Unmanaged<SessionCore>.fromOpaque(userdata)._withUnsafeGuaranteedRef {
                unsafe $0.send(descriptor, UnsafeMutableBufferPointer(start: pieces, count: Int(count)))
            }
        }
        return io
    }

    @inline(__always)
    private func inspect(_ request: UnsafeRawBufferPointer) {
        guard isNegotiating.load(ordering: .relaxed) else { return }
        if unsafe request.loadUnaligned(fromByteOffset: 4, as: UInt32.self) == Init.opcode {
            initRequest.withLock { $0 = unsafe Array(request) }
        }
    }

    @inline(__always)
    private func send(_ descriptor: Int32, _ pieces: UnsafeMutableBufferPointer<iovec>) -> Int {
        if isNegotiating.load(ordering: .relaxed), unsafe answerInit(pieces) {
            return unsafe pieces.reduce(0) { unsafe $0 &+ $1.iov_len }
        }
        if let header = unsafe pieces[0].iov_base, unsafe pieces[0].iov_len >= Init.replyHeader,
            unsafe header.loadUnaligned(fromByteOffset: 4, as: Int32.self) != 0
        {
            count(.errors)
        }
        // A kill while the kernel brings a page of the answer in would fail the read with EIO (fuse_dev_do_write in
        // fs/fuse/dev.c); while a page comes in here, the request is still the next agent's.
        _ = unsafe kaml_touch(pieces.baseAddress, pieces.count)
        let sent = unsafe writev(descriptor, pieces.baseAddress, Int32(truncatingIfNeeded: pieces.count))
        if sent < 0, errno == EFAULT {
            // Pages of a mapping that could not be read. The kernel has answered the request with EIO
            // itself; libfuse would only print about it.
            count(.errors)
            return unsafe pieces.reduce(0) { unsafe $0 &+ $1.iov_len }
        }
        return sent
    }

    /// Adds what libfuse 3.14 does not know to the reply to INIT, and notes the agreement. Whether the reply is not to
    /// be sent, since the kernel had its answer from an earlier process.
    private func answerInit(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Bool {
        guard pieces.count == 2, unsafe pieces[1].iov_len == Init.replyLength,
            let header = unsafe pieces[0].iov_base, let body = unsafe pieces[1].iov_base
        else { return inherited != nil }
        if let inherited {
            let goesOn = inherited.hasPassthrough && profile == .passthrough
            mayPassThrough.store(goesOn, ordering: .relaxed)
            isNegotiating.store(false, ordering: .relaxed)
            return true
        }
        let request = initRequest.withLock { $0 }
        if request.isEmpty { return false }
        let reply = unsafe UnsafeMutableRawBufferPointer(start: body, count: Init.replyLength)
        let offered = Handshake(request: request, reply: []).offered
        if profile == .passthrough {
            let enabled = unsafe Init.enablePassthrough(offered: offered, reply: reply)
            mayPassThrough.store(enabled, ordering: .relaxed)
            if !enabled {
                notice("this kernel has no FUSE passthrough (6.9 or later): reads go through the agent")
            }
        }
        let bytes =
            unsafe Array(UnsafeRawBufferPointer(start: header, count: Init.replyHeader))
            + Array(UnsafeRawBufferPointer(reply))
        let handshake = Handshake(request: request, reply: bytes)
        // Before the kernel has its answer: a process that dies between the two leaves an INIT that is sent again.
        do throws(MountError) { try control.note(handshake) } catch {
            notice(
                "what was agreed with the kernel is kept nowhere, so the mount ends with this process: \(error)"
            )
        }
        isNegotiating.store(false, ordering: .relaxed)
        phases.withLock { $0.handshake = handshake }
        return false
    }
}
