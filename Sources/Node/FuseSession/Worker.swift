import CFuse3
import FuseMount
import Glibc
import Synchronization
import System

/// One serving thread's own memory: nothing here is shared with another worker while it runs.
@safe final class Worker: @unchecked Sendable {
    // Sendable: buffers are touched by the worker's thread only; counters are atomic.
    let counters = CounterBlock()
    /// The session that it serves.
    private let owner: ObjectIdentifier
    /// A request as the kernel hands it over. libfuse announces writes of 1 MiB, so the kernel refuses a
    /// smaller buffer; pages that no request fills stay untouched.
    let request: UnsafeMutableRawBufferPointer
    /// The thread, for `FuseSession.stop`; `nil` while it does not run. Locked, so that no signal goes to a
    /// thread that has ended.
    private let thread = Mutex<pthread_t?>(nil)
    /// When the request came that is worked on, in monotonic nanoseconds, the lowest bit saying that it is a read; 0
    /// between requests.
    private let requestWord = Atomic<UInt64>(0)

    static let requestBytes = Mounter.maxReadBytes + (64 << 10)
    /// More than any request that a read-only file system gets.
    private static let touchedBytes = 8192

    init(of core: SessionCore) {
        owner = ObjectIdentifier(core)
        unsafe request = .allocate(byteCount: Self.requestBytes, alignment: 4096)
        // A kill while the kernel copies a request to a page that is not there yet becomes its sender's EIO
        // (fuse_dev_do_read in fs/fuse/dev.c).
        unsafe request[..<Self.touchedBytes].initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { unsafe request.deallocate() }

    @inline(__always)
    func serves(_ core: SessionCore) -> Bool { owner == ObjectIdentifier(core) }

    /// Where a thread keeps its worker. One for all sessions of the process: there are 1024 such keys (PTHREAD_KEYS_MAX),
    /// and libfuse takes one for each session.
    static let key: Result<pthread_key_t, Errno> = {
        var key = pthread_key_t()
        let status = unsafe pthread_key_create(&key, nil)
        return status == 0 ? .success(key) : .failure(Errno(rawValue: status))
    }()

    /// Makes the calling thread this worker's.
    func enter(_ core: SessionCore) {
        blockSignals()
        unsafe pthread_setspecific(core.workerKey, Unmanaged.passUnretained(self).toOpaque())
        thread.withLock { $0 = pthread_self() }
    }

    func leave(_ core: SessionCore) {
        thread.withLock { $0 = nil }
        pthread_setspecific(core.workerKey, nil)
    }

    /// Makes the worker's read(2) return, if it is in one.
    func interrupt() {
        thread.withLock { if let thread = $0 { pthread_kill(thread, Interruption.signal) } }
    }

    /// Serves until INIT is answered. `nil` when it was, else how the session ended before.
    func negotiate(_ core: SessionCore) -> SessionEnd? {
        // INIT may have been read by a process that died. Where the kernel has no such request, INIT waits as ever.
        try? FuseConnection.requestResend(core.device)
        while core.phases.withLock({ $0.handshake == nil }) {
            if core.isStopping { return .stopped }
            if case .end(let end) = serveOne(core) { return end }
        }
        return nil
    }

    /// Goes on with a connection that a process left: tells libfuse what that one agreed with the kernel, and asks the
    /// kernel for what it had in hand. `nil` when that went well.
    func takeOver(_ core: SessionCore, _ handshake: Handshake) -> SessionEnd? {
        var buffer = unsafe fuse_buf()
        unsafe buffer.mem = unsafe request.baseAddress
        unsafe handshake.request.withUnsafeBytes { unsafe request.copyMemory(from: $0) }
        unsafe buffer.size = handshake.request.count
        unsafe fuse_session_process_buf(core.session, &buffer)
        if core.isNegotiating.load(ordering: .relaxed) { return .failed(Errno(rawValue: EPROTO)) }
        // Before any other worker serves: what one of them registers would be dropped as nobody's.
        core.control.keepBackings(core.openFiles.withLock { $0.backings }, device: core.device)
        if handshake.offersResend {
            do throws(Errno) { try FuseConnection.requestResend(core.device) } catch {
                return error == .noDevice || error == .notPermitted ? .unmounted : .failed(error)
            }
        } else {
            core.notice("this kernel does not send again what the process before had in hand (6.9 does)")
        }
        core.phases.withLock { $0.handshake = handshake }
        return nil
    }

    /// Serves until the mount is gone or the session stops; nil when it left before, as `mayLeave` said.
    func run(_ core: SessionCore, mayLeave: () -> Bool) -> SessionEnd? {
        while !core.isStopping {
            switch serveOne(core) {
            case .again: if mayLeave() { return nil }
            case .end(let end): return end
            }
        }
        return .stopped
    }

    /// The process before agreed on an answer and died before it gave it.
    private func answerInit(_ core: SessionCore, _ handshake: Handshake) -> Step {
        var reply = handshake.reply
        let number = unsafe request.loadUnaligned(fromByteOffset: Init.uniqueOffset, as: UInt64.self)
        let written = unsafe reply.withUnsafeMutableBytes { bytes in
            unsafe bytes.storeBytes(of: number, toByteOffset: Init.replyUniqueOffset, as: UInt64.self)
            return unsafe write(core.device, bytes.baseAddress, bytes.count)
        }
        return written == reply.count ? .again : .end(.failed(.last))
    }

    // MARK: - The request in hand

    /// When it came; only from the worker's own thread.
    @inline(__always)
    var requestTime: UInt64 { requestWord.load(ordering: .relaxed) }

    /// Nil between requests.
    var busySince: UInt64? {
        let word = requestWord.load(ordering: .relaxed)
        return word == 0 ? nil : word
    }

    var isBusyWithoutReading: Bool {
        let word = requestWord.load(ordering: .relaxed)
        return word != 0 && word & 1 == 0
    }

    enum Step { case again, end(SessionEnd) }

    func serveOne(_ core: SessionCore) -> Step {
        var buffer = unsafe fuse_buf()
        unsafe buffer.mem = unsafe request.baseAddress
        let mayGrow = core.mayGrow.load(ordering: .relaxed)
        if mayGrow { core.idle.add(1, ordering: .relaxed) }
        let received = unsafe fuse_session_receive_buf(core.session, &buffer)
        if mayGrow, core.idle.subtract(1, ordering: .relaxed).newValue == 0, received > 0 { core.growCrew() }
        if received > 0 {
            if received >= Init.requestHeader {
                let opcode = unsafe request.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
                let kind = Counter(opcode: opcode)
                counters.addAlone(kind)
                let now = HostClock().monotonicNanoseconds() & ~1
                requestWord.store(kind == .reads ? now | 1 : now, ordering: .relaxed)
                if opcode == Init.opcode, let inherited = core.inherited {
                    defer { requestWord.store(0, ordering: .relaxed) }
                    return answerInit(core, inherited)
                }
            }
            unsafe fuse_session_process_buf(core.session, &buffer)
            requestWord.store(0, ordering: .relaxed)
            return .again
        }
        switch -received {
        // libfuse's word for ENODEV (unmounted), and for a session that was told to exit.
        case 0: return .end(core.isStopping ? .stopped : core.end ?? .unmounted)
        case EINTR, EAGAIN: return .again
        // The connection was aborted (umount -f, or through /sys/fs/fuse).
        case ECONNABORTED: return .end(.unmounted)
        case let error: return .end(.failed(Errno(rawValue: error)))
        }
    }

    /// Signals are for other threads, but for the one that interrupts this thread's read.
    private func blockSignals() {
        var set = sigset_t()
        unsafe sigfillset(&set)
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, Interruption.signal] {
            unsafe sigdelset(&set, signal)
        }
        unsafe pthread_sigmask(SIG_SETMASK, &set, nil)
    }
}

/// Bounds on what comes in.
enum Limits {
    /// NAME_MAX.
    static let nameBytes = 255
    /// XATTR_NAME_MAX.
    static let attributeNameBytes = 255
    /// writev(2) takes 1024 pieces (IOV_MAX), and libfuse puts the header before ours.
    static let segments = 1023
}

/// Interrupting a worker that sleeps in read(2).
enum Interruption {
    /// Ignored unless handled, and nothing else in this process uses it.
    static let signal = SIGURG

    /// An empty handler without SA_RESTART: the read ends with EINTR.
    static func install() {
        var action = sigaction()
        unsafe action.__sigaction_handler.sa_handler = { _ in }
        unsafe sigaction(signal, &action, nil)
    }
}
