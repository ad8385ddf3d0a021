import Glibc
import Synchronization
import System

/// Writes the statistics file every few seconds while something changes, and at the end.
final class StatisticsKeeper: Sendable {
    private let context: CacheContext
    private let registry: ContainerRegistry
    private let isStopped = Atomic(false)
    private let written: Monitor<CacheStatistics>

    init(_ context: CacheContext, _ registry: ContainerRegistry) {
        self.context = context
        self.registry = registry
        written = Monitor(context.counters.totals)
    }

    func start() {
        do throws(Errno) {
            let thread = try Thread(name: "kaml-cache-stat") { [self] in
                var last = context.clock.monotonicNanoseconds()
                while true {
                    usleep(250_000)
                    if isStopped.load(ordering: .acquiring) { return }
                    let now = context.clock.monotonicNanoseconds()
                    guard now &- last >= context.options.statisticsInterval else { continue }
                    last = now
                    write()
                }
            }
            thread.detach()
        } catch {
            context.notice(once: "threads", "no thread for the statistics: \(error)")
        }
    }

    /// After this no write begins but the caller's own.
    func stop() { isStopped.store(true, ordering: .releasing) }

    func totals() -> CacheStatistics {
        var totals = context.counters.totals
        totals.completeContainers = UInt64(registry.known.count(where: \.isComplete))
        return totals
    }

    func write() {
        guard context.hasDisk else { return }
        written.withLock { written in
            let totals = totals()
            // The lock is looked at under this lock: a cache that was closed must not write over its successor's.
            guard totals != written, context.holdsLock else { return }
            written = totals
            do throws(Errno) {
                try replaceFile(
                    context.layout.statistics, StatisticsFile.encode(totals), suffix: "tmp", context.files)
            } catch { context.noticeDiskTrouble(error) }
        }
    }

    /// Gives the directory's lock back once no write is under way.
    func releaseLock() { written.withLock { _ in context.releaseLock() } }
}
