import Chunking
import DatasetStore
import System

/// What is fetched before anybody asks for it.
extension FetchScheduler {
    struct Order {
        enum What {
            case chunks(Range<Int>, isFilling: Bool)
            case footer
        }

        var container: Container
        var what: What
    }

    func read(ahead orders: [Order]) {
        if orders.isEmpty { return }
        let entries = orders.map { order in
            switch order.what {
            case .chunks(let chunks, let isFilling):
                Queue.Entry(
                    item: .ahead(order.container, chunks, isFilling: isFilling),
                    key: ObjectIdentifier(order.container),
                    charge: FetchCharge.ahead(order.container, chunks), kind: isFilling ? .filling : .ahead)
            case .footer:
                Queue.Entry(
                    item: .footer(order.container), key: ObjectIdentifier(order.container),
                    charge: Int(order.container.pack.footerLength), kind: .ahead)
            }
        }
        state.withLock { state in
            guard !state.isClosed else { return }
            for entry in entries { state.queue.add(entry) }
        }
        summon()
    }

    /// Enters the missing chunks of a run that nobody fetches; the caller fetches them.
    /// Without those `withBases` it leaves prefix frames out, each of which would bring its base along.
    func claimAhead(
        _ container: Container, _ chunks: Range<Int>, limit: Int, withBases: Bool = true
    ) -> [FetchClaim] {
        guard let footer = container.footerLoader.known else { return [] }
        return state.withLock { state in
            var claims: [FetchClaim] = []
            let id = ObjectIdentifier(container)
            for chunk in chunks.clamped(to: 0..<footer.chunkCount) where claims.count < limit {
                if container.bitmap.isPresent(chunk) { continue }
                if !withBases, footer[chunk].codec == .zstdPrefix { continue }
                if state.table.requestAhead(.init(container: id, chunk: chunk)) {
                    claims.append(FetchClaim(chunk: chunk, entry: footer[chunk]))
                }
            }
            return claims
        }
    }

    /// Adds to a reader's claims the missing chunks between them, which come with the range anyway when they are small.
    func fillGaps(of claims: [FetchClaim], _ container: Container, _ footer: PackFooter) -> [FetchClaim] {
        // They would only come again when they are wanted.
        if context.diskRefuses { return claims }
        var all = claims
        for (left, right) in zip(claims, claims.dropFirst()) where right.chunk > left.chunk + 1 {
            guard right.entry.frameOffset >= left.entry.frame.upperBound,
                right.entry.frameOffset - left.entry.frame.upperBound <= UInt64(context.options.gapTolerance)
            else { continue }
            all += claimAhead(container, (left.chunk + 1)..<right.chunk, limit: .max, withBases: false)
        }
        return all.sorted { $0.chunk < $1.chunk }
    }

    /// A reader had these chunks at hand, in a container that is read ahead of.
    func didRead(_ container: Container, _ chunks: Range<Int>) {
        let orders = state.withLock { $0.note(container, chunks, isMiss: false) }
        read(ahead: orders)
    }

    /// What cannot be had now is asked for again, and told, when a reader needs it.
    func readFooter(_ container: Container) {
        let use = ContainerUse(container)
        defer { withExtendedLifetime(use) {} }
        guard container.hasDisk, !isStopping, (try? container.footer()) != nil else { return }
        read(ahead: state.withLock { $0.footerCame(container) })
    }

    func runAhead(_ container: Container, _ chunks: Range<Int>, _ isFilling: Bool) {
        let use = ContainerUse(container)
        defer { withExtendedLifetime(use) {} }
        guard container.hasDisk, !isStopping, !context.diskRefuses else { return }
        let claims = claimAhead(container, chunks, limit: .max)
        if claims.isEmpty { return }
        FetchRun.run(
            [FetchJob(container: container, claims: claims, isAhead: true, isFilling: isFilling)], self)
    }
}

extension FetchScheduler.Order {
    init(_ container: Container, _ order: Readahead.Order) {
        self.init(container: container, what: .chunks(order.chunks, isFilling: order.isFilling))
    }
}
