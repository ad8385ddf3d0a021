import Glibc
import ObjectStore
import Synchronization
import System
import Telemetry

/// What all parts of one cache share.
final class CacheContext: Sendable {
    let files: any FileSystem
    let clock: any Clock
    let layout: CacheLayout
    let options: CacheOptions
    /// Nil where the cache is in the clear.
    let sealing: CacheSealing?
    /// Where reference packs find their objects.
    let sources: any ObjectSources
    let bootID: BootID
    let counters: CacheCounters
    /// Of writes past the page cache.
    let directPace = Monitor(DirectPace())
    let space = SpaceLedger()
    let health = Monitor(DiskHealth())
    let tenants = Monitor(TenantNames())
    private let pendingWrites = Monitor(PendingWrites())
    /// Which file system and directory the cache lives in; nil while it has none.
    private let home = Monitor<FileStatus?>(nil)
    /// Counts the directories that were taken up.
    let homeNumber = Atomic(0)
    private let isUsable = Atomic(false)
    private let isSlow = Atomic(false)
    private let lock: Monitor<CacheLock?>
    /// When each kind of trouble was told last.
    private let noticed = Monitor<[String: UInt64]>([:])
    private let notice: @Sendable (String) -> Void
    private let nextName = Atomic<UInt64>(0)
    /// On the monotonic clock; 0 while the disk has refused nothing.
    private let refusesUntil = Atomic<UInt64>(0)
    /// For so many nanoseconds a disk that refused a write is not relied on.
    private static let refusalMemory: UInt64 = 5_000_000_000
    /// For so many nanoseconds a kind of trouble is not told again.
    private static let silence: UInt64 = 600_000_000_000
    /// A write that takes longer than this is one that readers should not wait for.
    private static let slowWrite: UInt64 = 2_000_000_000

    init(
        files: any FileSystem, clock: any Clock, layout: CacheLayout, options: CacheOptions,
        sources: any ObjectSources, lock: consuming CacheLock?, counters: CacheCounters,
        notice: @escaping @Sendable (String) -> Void
    ) {
        self.files = files
        self.clock = clock
        self.layout = layout
        self.options = options
        sealing = options.keys.map { CacheSealing($0) }
        self.sources = sources
        self.counters = counters
        self.notice = notice
        let isLocked = lock != nil
        self.lock = Monitor(lock)
        bootID = BootID.current(options.bootID, files)
        if isLocked {
            settle(in: try? files.status(of: layout.directory))
        } else {
            _ = health.withLock { $0.note(.noDirectory, at: clock.monotonicNanoseconds()) }
        }
    }

    /// False while the directory can take no files (read-only, full, gone): every read goes through to the store.
    var hasDisk: Bool { isUsable.load(ordering: .relaxed) }

    private func settle(in directory: FileStatus?) {
        home.withLock { $0 = directory }
        isUsable.store(true, ordering: .relaxed)
    }

    /// Tells the operator about a kind of trouble the first time it shows.
    func notice(once kind: String, _ text: @autoclosure () -> String) {
        let now = clock.monotonicNanoseconds()
        let isNews = noticed.withLock { noticed in
            if let last = noticed[kind], now &- last < Self.silence { return false }
            noticed[kind] = now
            return true
        }
        if isNews { notice(text()) }
    }

    /// Whether the disk refused a write a moment ago, or there is no room. Until it may be tried again nothing is fetched
    /// that would have to be fetched once more if it is not kept.
    var diskRefuses: Bool {
        if space.isFull || isSlow.load(ordering: .relaxed) { return true }
        let until = refusesUntil.load(ordering: .relaxed)
        return until != 0 && clock.monotonicNanoseconds() < until
    }

    /// The disk refused a write: say so once, and go on from memory.
    func noticeDiskTrouble(_ error: Errno) {
        if error.isExhaustion {
            return notice(
                once: "exhausted \(error.rawValue)",
                "the process can open no more files of the cache in \(layout.directory): \(error). Reads go through to "
                    + "the store; raise the limit of descriptors (ulimit -n) or vm.max_map_count")
        }
        _ = health.withLock { $0.note(.refused(error), at: clock.monotonicNanoseconds()) }
        refusesUntil.store(
            max(1, clock.monotonicNanoseconds() &+ Self.refusalMemory), ordering: .relaxed)
        notice(
            once: "disk \(error.rawValue)",
            "the cache in \(layout.directory) cannot take more: \(error). Reads go through to the store; "
                + (error == .noSpace || error == .quotaExceeded
                    ? "free space on its disk or raise the quota"
                    : "look at the kernel log and the disk's health"))
    }

    /// Runs a write, and notes how long it takes.
    func timed(_ write: () throws(Errno) -> Void) throws(Errno) {
        let start = clock.monotonicNanoseconds()
        let pending = pendingWrites.withLock { $0.begin(at: start) }
        defer {
            let end = clock.monotonicNanoseconds()
            noteWrite(pendingWrites.withLock { $0.end(pending, at: end) })
            Trace.current?.spend(end &- start, on: "write")
        }
        try write()
    }

    private func noteWrite(_ nanoseconds: UInt64) {
        guard nanoseconds > Self.slowWrite else { return }
        guard health.withLock({ $0.note(.slow, at: clock.monotonicNanoseconds()) }) else { return }
        isSlow.store(true, ordering: .relaxed)
        notice(
            once: "slow",
            "the disk of the cache in \(layout.directory) took more than \(Self.slowWrite / 1_000_000_000) s for a "
                + "write: nothing more is written until it is faster. Look at its health")
    }

    /// Whether a disk that is only slow is left alone.
    var avoidsDisk: Bool { isSlow.load(ordering: .relaxed) }

    /// Looks whether the directory is where it was, and tries a disk that was in trouble when it is time to.
    func examineDisk() {
        let now = clock.monotonicNanoseconds()
        noteWrite(pendingWrites.withLock { $0.longest(at: now) })
        examineHome(now)
        guard health.withLock({ $0.isProbeDue(at: now) }) else { return }
        if !holdsLock || !hasDisk { return reopen() }
        guard probes() else { return }
        isSlow.store(false, ordering: .relaxed)
        refusesUntil.store(0, ordering: .relaxed)
        if health.withLock({ $0.recovered() }) {
            notice(once: "recovered", "the disk of the cache in \(layout.directory) takes files again")
        }
    }

    private func examineHome(_ now: UInt64) {
        guard hasDisk, let known = home.withLock({ $0 }) else { return }
        let found = try? files.status(of: layout.directory)
        if let found, found.device == known.device, found.inode == known.inode { return }
        isUsable.store(false, ordering: .relaxed)
        _ = health.withLock { $0.note(.displaced, at: now) }
        notice(
            once: "displaced",
            "the cache directory \(layout.directory) was unmounted or replaced: reads go through to the store. "
                + "Mount it again; it is taken up by itself")
    }

    /// Takes the directory up again that was away, or could not be used before: only one on the file system that it was
    /// on, or one that is a cache already, so that a disk that is not mounted does not fill the one below its mount point.
    private func reopen() {
        guard let found = try? files.status(of: layout.directory) else { return }
        if let known = home.withLock({ $0 }) {
            guard found.device == known.device || CacheDirectory.isCache(layout, files) else { return }
            if found.inode != known.inode || found.device != known.device { releaseLock() }
        }
        if !holdsLock {
            guard let lock = (try? CacheDirectory.open(layout, files, sealing, notice: { _ in })) ?? nil
            else {
                return
            }
            hold(lock)
        }
        guard probes() else { return }
        let isAnother = home.withLock {
            $0.map { $0.inode != found.inode || $0.device != found.device } ?? true
        }
        settle(in: try? files.status(of: layout.directory))
        if isAnother { homeNumber.wrappingAdd(1, ordering: .releasing) }
        if health.withLock({ $0.recovered() }) {
            notice(once: "reopened", "the cache directory \(layout.directory) is in use again")
        }
    }

    private func hold(_ lock: consuming CacheLock) {
        // A closure cannot consume what it captures, a parameter can be given on.
        var taken: CacheLock? = consume lock
        self.lock.withLock { held in swap(&held, &taken) }
    }

    /// Whether the disk takes a small file in reasonable time.
    private func probes() -> Bool {
        let start = clock.monotonicNanoseconds()
        do throws(Errno) {
            try replaceFile(
                layout.directory.appending("probe"), [UInt8](repeating: 0x4B, count: 4096), suffix: "tmp",
                files)
            try? files.unlink(layout.directory.appending("probe"))
        } catch { return false }
        return clock.monotonicNanoseconds() &- start < Self.slowWrite
    }

    /// A part of a file name that no other file of this process has.
    func uniqueSuffix() -> String {
        "\(getpid())-\(nextName.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    func releaseLock() { lock.withLock { $0 = nil } }
    var holdsLock: Bool { lock.withLock { $0 != nil } }
}

/// The kernel's name for this boot: what was written under another one may have been lost on the way to the
/// disk.
struct BootID: Hashable, Sendable {
    static let byteCount = 16
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) {
        var kept = Array(bytes.prefix(Self.byteCount))
        kept.append(contentsOf: repeatElement(0, count: Self.byteCount - kept.count))
        self.bytes = kept
    }

    /// `given`, or the kernel's. Where it cannot be read each run counts as a boot of its own.
    static func current(_ given: [UInt8]?, _ files: any FileSystem) -> BootID {
        if let given { return BootID(given) }
        var digits: [UInt8] = []
        var text = [UInt8](repeating: 0, count: 64)
        if let file = try? FileDescriptor.open("/proc/sys/kernel/random/boot_id", O_RDONLY),
            let count = try? unsafe text.withUnsafeMutableBytes({ buffer in
                Result { () throws(Errno) in try unsafe file.read(into: buffer, at: 0) }
            }).get()
        {
            digits = text.prefix(count).compactMap(Self.digit)
        }
        guard digits.count == 32 else { return BootID(HostRandom().bytes(byteCount)) }
        return BootID(stride(from: 0, to: 32, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
