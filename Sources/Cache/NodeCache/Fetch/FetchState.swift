import DatasetStore
import Synchronization
import System

/// What the scheduler's lock guards: who fetches what, what waits, and what readers did.
struct FetchState: ~Copyable {
    var table = FetchTable<FetchScheduler.Waiter>()
    var readahead: [ObjectIdentifier: Readahead] = [:]
    /// What the last reader that came to a pack's end was read ahead of: it goes on in another pack.
    var windowAtEnd: Int?
    /// Work and not claims: a chunk is in flight only once a thread works on it, so that nobody ever
    /// waits for a chunk whose leader waits for a thread.
    var queue: FetchScheduler.Queue
    /// Calls that run their jobs themselves now.
    var inline = 0
    var threads = 0
    var idle: [Parker] = []
    var isClosed = false
}

extension FetchState {
    /// Whether a request needs a chunk that nobody fetches yet.
    func hasWork(_ request: FetchRequest) -> Bool {
        request.parts.contains { part in
            let id = ObjectIdentifier(part.container)
            return part.chunks.contains { chunk in
                !part.container.isPresent(chunk) && !table.isInFlight(.init(container: id, chunk: chunk))
            }
        }
    }

    /// Enters a request's missing chunks; returns jobs for those that nobody fetches yet.
    mutating func claim(_ request: FetchRequest) -> [FetchJob] {
        var jobs: [FetchJob] = []
        var slot = 0
        for part in request.parts {
            let id = ObjectIdentifier(part.container)
            var claims: [FetchClaim] = []
            for chunk in part.chunks {
                // Looked at under the lock: a leader sets the bit before it leaves the table. A hint that the footer
                // does not confirm goes on to the job, which fails it.
                if part.container.isPresent(chunk),
                    !part.hasHint || part.container.lists(chunk, request.entries[slot])
                {
                    request.settleReady(slot)
                } else {
                    request.expect()
                    let waiter = FetchScheduler.Waiter(request: request, slot: slot)
                    if table.request(.init(container: id, chunk: chunk), waiter) == .start {
                        claims.append(FetchClaim(chunk: chunk, entry: request.entries[slot]))
                    }
                }
                slot += 1
            }
            if claims.isEmpty { continue }
            if let index = jobs.firstIndex(where: { $0.container === part.container }) {
                jobs[index].claims.append(contentsOf: claims)
            } else {
                jobs.append(FetchJob(container: part.container, claims: claims))
            }
        }
        return jobs
    }

    mutating func note(_ request: FetchRequest) -> [FetchScheduler.Order] {
        var orders: [FetchScheduler.Order] = []
        for part in request.parts where part.container.hasDisk {
            orders += note(
                part.container, part.chunks, isMiss: !part.container.arePresent(part.chunks))
        }
        return orders
    }

    /// Notes what a reader asks for; returns what is to be read ahead of it.
    mutating func note(
        _ container: Container, _ chunks: Range<Int>, isMiss: Bool
    ) -> [FetchScheduler.Order] {
        let id = ObjectIdentifier(container)
        if container.isComplete {
            readahead[id] = nil
            container.isObserved.store(false, ordering: .relaxed)
            return []
        }
        var window: Int?
        var reader = readahead[id]
        if reader == nil {
            guard isMiss else { return [] }
            if chunks.lowerBound == 0, container.pack.layout == .slots {
                window = windowAtEnd
                windowAtEnd = nil
            }
        }
        var state =
            reader.take()
            ?? Readahead(
                layout: container.pack.layout, chunkCount: Int(container.pack.chunkCount),
                limits: container.readaheadLimits)
        readahead[id] = nil
        let advice = state.access(
            chunks, isMiss: isMiss, sizes: container.footerLoader.known, window: window
        ) { word in container.bitmap.pair(word).present.nonzeroBitCount }
        if container.pack.layout == .slots, let atEnd = advice.windowAtEnd { windowAtEnd = atEnd }
        container.isObserved.store(state.isActive, ordering: .relaxed)
        readahead[id] = state
        return advice.orders.map {
            FetchScheduler.Order(container: container, chunks: $0.chunks, isFilling: $0.isFilling)
        }
    }
}

extension Container {
    /// Small objects of an imported pack are a request each: one by one they are spread over many threads.
    fileprivate var readaheadLimits: ReadaheadRuns.Limits {
        var limits = context.options.readahead
        if pack.holdsReferences && pack.layout == .slots { limits.piece = 1 }
        return limits
    }
}
