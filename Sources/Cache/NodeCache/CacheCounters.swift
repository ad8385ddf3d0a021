import Synchronization

/// The running totals behind `CacheStatistics`.
final class CacheCounters: Sendable {
    let fetchedBytes = Atomic<UInt64>(0)
    let fetchRequests = Atomic<UInt64>(0)
    let manifestBytes = Atomic<UInt64>(0)
    let filledBytes = Atomic<UInt64>(0)
    let verifiedChunks = Atomic<UInt64>(0)
    let failedChunks = Atomic<UInt64>(0)
    let recheckedChunks = Atomic<UInt64>(0)
    let rejectedChunks = Atomic<UInt64>(0)
    let readThroughs = Atomic<UInt64>(0)
    let evictedContainers = Atomic<UInt64>(0)
    let evictedBytes = Atomic<UInt64>(0)
    let scrubbedBytes = Atomic<UInt64>(0)
    let scrubBadChunks = Atomic<UInt64>(0)
    let scrubPasses = Atomic<UInt64>(0)

    /// Goes on from what earlier lives of the cache left.
    init(continuing earlier: CacheStatistics) {
        fetchedBytes.store(earlier.fetchedBytes, ordering: .relaxed)
        fetchRequests.store(earlier.fetchRequests, ordering: .relaxed)
        manifestBytes.store(earlier.manifestBytes, ordering: .relaxed)
        filledBytes.store(earlier.filledBytes, ordering: .relaxed)
        verifiedChunks.store(earlier.verifiedChunks, ordering: .relaxed)
        failedChunks.store(earlier.failedChunks, ordering: .relaxed)
        recheckedChunks.store(earlier.recheckedChunks, ordering: .relaxed)
        rejectedChunks.store(earlier.rejectedChunks, ordering: .relaxed)
        readThroughs.store(earlier.readThroughs, ordering: .relaxed)
        evictedContainers.store(earlier.evictedContainers, ordering: .relaxed)
        evictedBytes.store(earlier.evictedBytes, ordering: .relaxed)
        scrubbedBytes.store(earlier.scrubbedBytes, ordering: .relaxed)
        scrubBadChunks.store(earlier.scrubBadChunks, ordering: .relaxed)
        scrubPasses.store(earlier.scrubPasses, ordering: .relaxed)
    }

    var totals: CacheStatistics {
        var totals = CacheStatistics()
        totals.fetchedBytes = fetchedBytes.load(ordering: .relaxed)
        totals.fetchRequests = fetchRequests.load(ordering: .relaxed)
        totals.manifestBytes = manifestBytes.load(ordering: .relaxed)
        totals.filledBytes = filledBytes.load(ordering: .relaxed)
        totals.verifiedChunks = verifiedChunks.load(ordering: .relaxed)
        totals.failedChunks = failedChunks.load(ordering: .relaxed)
        totals.recheckedChunks = recheckedChunks.load(ordering: .relaxed)
        totals.rejectedChunks = rejectedChunks.load(ordering: .relaxed)
        totals.readThroughs = readThroughs.load(ordering: .relaxed)
        totals.evictedContainers = evictedContainers.load(ordering: .relaxed)
        totals.evictedBytes = evictedBytes.load(ordering: .relaxed)
        totals.scrubbedBytes = scrubbedBytes.load(ordering: .relaxed)
        totals.scrubBadChunks = scrubBadChunks.load(ordering: .relaxed)
        totals.scrubPasses = scrubPasses.load(ordering: .relaxed)
        return totals
    }
}

extension Atomic<UInt64> {
    func count(_ amount: Int = 1) { wrappingAdd(UInt64(truncatingIfNeeded: amount), ordering: .relaxed) }
}
