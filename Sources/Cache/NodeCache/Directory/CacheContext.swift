import Glibc
import ObjectStore
import Synchronization
import System

/// What all parts of one cache share.
final class CacheContext: Sendable {
    let files: any FileSystem
    let clock: any Clock
    let layout: CacheLayout
    let options: CacheOptions
    /// Where reference packs find their objects.
    let sources: any ObjectSources
    let bootID: BootID
    let counters: CacheCounters
    /// Of writes past the page cache.
    let directPace = Monitor(DirectPace())
    /// False when the directory can take no files (read-only, full): every read goes through to the store.
    let hasDisk: Bool
    private let lock: Monitor<CacheLock?>
    private let noticed = Monitor<Set<String>>([])
    private let notice: @Sendable (String) -> Void
    private let nextName = Atomic<UInt64>(0)
    /// On the monotonic clock; 0 while the disk has refused nothing.
    private let refusesUntil = Atomic<UInt64>(0)
    /// For so many nanoseconds a disk that refused a write is not relied on.
    private static let refusalMemory: UInt64 = 5_000_000_000

    init(
        files: any FileSystem, clock: any Clock, layout: CacheLayout, options: CacheOptions,
        sources: any ObjectSources, lock: consuming CacheLock?, counters: CacheCounters,
        notice: @escaping @Sendable (String) -> Void
    ) {
        self.files = files
        self.clock = clock
        self.layout = layout
        self.options = options
        self.sources = sources
        self.counters = counters
        self.notice = notice
        hasDisk = lock != nil
        self.lock = Monitor(lock)
        bootID = BootID.current(options.bootID, files)
    }

    /// Tells the operator about a kind of trouble the first time it shows.
    func notice(once kind: String, _ text: @autoclosure () -> String) {
        if noticed.withLock({ $0.insert(kind).inserted }) { notice(text()) }
    }

    /// Whether the disk refused a write a moment ago. Until it may be tried again nothing is fetched that would have to be
    /// fetched once more if it is not kept.
    var diskRefuses: Bool {
        let until = refusesUntil.load(ordering: .relaxed)
        return until != 0 && clock.monotonicNanoseconds() < until
    }

    /// The disk refused a write: say so once, and go on from memory.
    func noticeDiskTrouble(_ error: Errno) {
        refusesUntil.store(
            max(1, clock.monotonicNanoseconds() &+ Self.refusalMemory), ordering: .relaxed)
        notice(
            once: "disk \(error.rawValue)",
            "the cache in \(layout.directory) cannot take more: \(error). Reads go through to the store; "
                + (error == .noSpace || error == .quotaExceeded
                    ? "free space on its disk or raise the quota"
                    : "look at the kernel log and the disk's health"))
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
