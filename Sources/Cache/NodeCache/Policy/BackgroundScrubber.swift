import DatasetStore
import Synchronization
package import System

/// How far the background scrubber is.
package struct ScrubProgress: Sendable, Hashable {
    /// Bytes a second at most; 0 when nothing is scrubbed.
    package var bytesPerSecond = 0
    /// Containers of the pass that runs, and those of them that were looked at; both 0 between two passes.
    package var containers = 0
    package var checkedContainers = 0
    /// When the last whole pass ended, on the wall clock; nil while there was none in this life of the cache.
    package var lastPass: Timestamp?

    package init() {}
}

/// Hashes what lies in the cache again, slowly and for ever: a thread of its own, at most so many bytes a second, less
/// while readers wait for fetches. What is bad is forgotten, and fetched again when it is needed.
///
/// Goes through the packs in the order of their ids and remembers the last one across lives, so that the end of the cache
/// is looked at too on a node that is restarted often. Bytes that the page cache has are hashed from there.
final class BackgroundScrubber: Sendable {
    private let context: CacheContext
    private let registry: ContainerRegistry
    private let isBusy: @Sendable () -> Bool
    private let parker = Parker()
    private let isStopped = Atomic(false)
    private let state = Monitor(ScrubProgress())
    /// Bytes a second; 0 while nothing is to be done.
    private let rate: Atomic<Int>
    /// Nanoseconds between two passes, and between two looks whether there is something to do.
    private static let rest: UInt64 = 60_000_000_000
    private static let idle: UInt64 = 1_000_000_000
    private static let saveInterval: UInt64 = 10_000_000_000

    init(_ context: CacheContext, _ registry: ContainerRegistry, isBusy: @escaping @Sendable () -> Bool) {
        self.context = context
        self.registry = registry
        self.isBusy = isBusy
        rate = Atomic(max(0, context.options.scrubBytesPerSecond))
    }

    func start() {
        do throws(Errno) {
            try Thread(name: "kaml-cache-scrub") { [self] in run() }.detach()
        } catch {
            context.notice(once: "scrub", "no thread that looks for rot on the cache's disk: \(error)")
        }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        parker.unpark()
    }

    func setRate(_ bytesPerSecond: Int) {
        rate.store(max(0, bytesPerSecond), ordering: .relaxed)
        parker.unpark()
    }

    var progress: ScrubProgress {
        var progress = state.withLock { $0 }
        progress.bytesPerSecond = rate.load(ordering: .relaxed)
        return progress
    }

    private var isRunning: Bool { !isStopped.load(ordering: .acquiring) }

    private func run() {
        while isRunning {
            guard rate.load(ordering: .relaxed) > 0, context.hasDisk else {
                parker.park(nanoseconds: Self.idle)
                continue
            }
            pass()
            if isRunning { parker.park(nanoseconds: Self.rest) }
        }
    }

    private func pass() {
        let scrub = Scrub(context: context, registry: registry)
        let buffers = FetchBuffers(MemoryMeter())
        var saved = context.clock.monotonicNanoseconds()
        let last = position
        let packs = scrub.packs()
        defer { state.withLock { ($0.containers, $0.checkedContainers) = (0, 0) } }
        for (index, pack) in packs.enumerated() where last.map({ $0 < pack.id }) ?? true {
            state.withLock { ($0.containers, $0.checkedContainers) = (packs.count, index) }
            guard isRunning, context.hasDisk, rate.load(ordering: .relaxed) > 0 else { return }
            do throws(CacheError) {
                let report = try scrub.check(pack, buffers) { bytes in
                    pause(after: bytes)
                    return isRunning
                }
                context.counters.scrubbedBytes.count(Int(clamping: report.bytes))
                context.counters.scrubBadChunks.count(Int(clamping: report.badChunks))
                if report.badChunks > 0 {
                    context.notice(
                        once: "rot",
                        "\(report.badChunks) chunks of \(pack.key) were wrong on the cache's disk; they are fetched "
                            + "again. Look at the health of the disk of \(context.layout.directory)")
                }
            } catch { context.notice(once: "scrub", "\(error)") }
            guard isRunning else { return }
            let now = context.clock.monotonicNanoseconds()
            if now &- saved > Self.saveInterval {
                saved = now
                position = pack.id
            }
        }
        position = nil
        state.withLock { $0.lastPass = context.clock.now() }
        context.counters.scrubPasses.count()
    }

    private func pause(after bytes: Int) {
        let rate = rate.load(ordering: .relaxed)
        guard rate > 0 else { return }
        let time = UInt64(bytes) &* 1_000_000_000 / UInt64(rate)
        parker.park(nanoseconds: isBusy() ? time &* 4 : time)
    }

    /// The last pack that was looked at; nil at the start of a pass.
    private var position: PackID? {
        get {
            guard let bytes = try? readFile(context.layout.scrub, limit: 64, context.files) else {
                return nil
            }
            return PackID(hex: String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self))
        }
        set {
            guard context.holdsLock else { return }
            let text = newValue.map(\.description) ?? "-"
            try? replaceFile(context.layout.scrub, Array((text + "\n").utf8), suffix: "tmp", context.files)
        }
    }
}
