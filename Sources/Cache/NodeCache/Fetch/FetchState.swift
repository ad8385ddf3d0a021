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
    /// Enters a request whose every chunk is at hand or in flight already. False, and nothing is entered, when one has to
    /// be fetched. Looks at each chunk once: its bit may change meanwhile, and a chunk that is entered with nobody
    /// to fetch it would be waited for for ever.
    mutating func settleWithoutWork(_ request: FetchRequest, _ recent: RecentChunks) -> Bool {
        var awaited: [(key: FetchTable<FetchScheduler.Waiter>.Key, slot: Int)] = []
        var ready: [Int] = []
        var held: [(chunk: HeldChunk, slot: Int)] = []
        var slot = 0
        for part in request.parts {
            let id = ObjectIdentifier(part.container)
            for chunk in part.chunks {
                if request.holdsAnswers, let chunk = part.held(chunk, request.entries[slot], recent) {
                    held.append((chunk, slot))
                } else if part.isReady(chunk, slot, of: request) {
                    ready.append(slot)
                } else if table.isInFlight(.init(container: id, chunk: chunk)) {
                    awaited.append((.init(container: id, chunk: chunk), slot))
                } else {
                    return false
                }
                slot += 1
            }
        }
        for slot in ready { request.settleReady(slot) }
        for (chunk, slot) in held { request.settleReady(slot, chunk) }
        for (key, slot) in awaited {
            request.expect()
            _ = table.request(key, FetchScheduler.Waiter(request: request, slot: slot))
        }
        return true
    }

    /// Takes a request's chunks that are on disk and not trusted, and that nobody works on: the caller hashes them.
    mutating func claimUntrusted(_ request: FetchRequest) -> [FetchJob] {
        var jobs: [FetchJob] = []
        var slot = 0
        for part in request.parts {
            let id = ObjectIdentifier(part.container)
            var claims: [FetchClaim] = []
            for chunk in part.chunks {
                if part.container.isUntrusted(chunk), table.requestAhead(.init(container: id, chunk: chunk)) {
                    claims.append(FetchClaim(chunk: chunk, entry: request.entries[slot]))
                }
                slot += 1
            }
            if !claims.isEmpty { jobs.append(FetchJob(container: part.container, claims: claims)) }
        }
        return jobs
    }

    /// Enters a request's missing chunks; returns jobs for those that nobody fetches yet.
    mutating func claim(_ request: FetchRequest, _ recent: RecentChunks) -> [FetchJob] {
        var jobs: [FetchJob] = []
        var slot = 0
        for part in request.parts {
            let id = ObjectIdentifier(part.container)
            var claims: [FetchClaim] = []
            for chunk in part.chunks {
                // Looked at under the lock: a leader sets the bit before it leaves the table.
                if request.holdsAnswers, let held = part.held(chunk, request.entries[slot], recent) {
                    request.settleReady(slot, held)
                } else if part.isReady(chunk, slot, of: request) {
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
        // What is read ahead would have to be read again when it is wanted.
        if container.context.diskRefuses { return [] }
        let id = ObjectIdentifier(container)
        if container.isComplete {
            readahead[id] = nil
            container.isObserved.store(false, ordering: .relaxed)
            return []
        }
        var window: Int?
        var orders: [FetchScheduler.Order] = []
        var reader = readahead[id]
        if reader == nil {
            guard isMiss else { return [] }
            if chunks.lowerBound == 0, container.pack.layout == .slots {
                window = windowAtEnd
                windowAtEnd = nil
                // It goes on here: the footer is asked for beside its first chunk, not behind it.
                if window != nil, container.footerLoader.known == nil {
                    orders.append(FetchScheduler.Order(container: container, what: .footer))
                }
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
        return orders + advice.orders.map { FetchScheduler.Order(container, $0) }
    }

    /// A footer came that was asked for ahead: what its reader is to be read ahead of.
    mutating func footerCame(_ container: Container) -> [FetchScheduler.Order] {
        guard let footer = container.footerLoader.known, !container.context.diskRefuses else { return [] }
        let id = ObjectIdentifier(container)
        guard let orders = readahead[id]?.sizesCame(footer), !orders.isEmpty else { return [] }
        container.isObserved.store(true, ordering: .relaxed)
        return orders.map { FetchScheduler.Order(container, $0) }
    }
}

extension ResolvedPart {
    /// Whether a chunk can be answered from the container. A hint that the footer does not confirm goes on to a job,
    /// which fails it; so does a sealed chunk that came after the request was opened.
    fileprivate func isReady(_ chunk: Int, _ slot: Int, of request: FetchRequest) -> Bool {
        if container.isSealed && request.holdsAnswers { return request.isOpen(slot) }
        let entry = request.entries[slot]
        return container.isPresent(chunk) && (!hasHint || container.lists(chunk, entry))
    }

    /// The chunk's bytes, if they wait for a reader in memory.
    fileprivate func held(_ chunk: Int, _ entry: ChunkEntry, _ recent: RecentChunks) -> HeldChunk? {
        guard container.holdsRecent, !hasHint || container.lists(chunk, entry) else { return nil }
        return recent.take(container, chunk, reading: wanted(of: entry))
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
