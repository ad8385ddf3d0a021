import Chunking
import Synchronization

/// Decodes and hashes every chunk of packs, on several threads.
struct DataCheck {
    let footers: PackFooters
    let progress: WorkCounter

    /// Bytes read at once: few requests, and little memory for each thread.
    private static let window = 8 << 20

    /// A chunk that cannot be read as what it must be.
    struct BadChunk: Sendable {
        var pack: PackReference
        var chunk: UInt32
        var problem: CheckReport.Problem
    }

    /// Checks packs whose footers are sound. Throws only when the store goes away.
    func run(_ packs: [PackReference], threads: Int) throws(StoreError) -> [BadChunk] {
        let bases = PlainChunkCache()
        let next = Atomic<Int>(0)
        let outcome = Mutex<(bad: [BadChunk], error: StoreError?)>(([], nil))
        let workers = WorkerThreads(min(threads, max(1, packs.count)), "kaml-check") {
            let checker = FrameChecker(footers, bases: bases)
            while outcome.withLock({ $0.error == nil }) {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < packs.count else { return }
                do throws(StoreError) {
                    let bad = try check(packs[index], checker)
                    if !bad.isEmpty { outcome.withLock { $0.bad.append(contentsOf: bad) } }
                } catch {
                    outcome.withLock { $0.error = $0.error ?? error }
                }
                progress.add(items: 1)
            }
        }
        workers.join()
        let (bad, error) = outcome.withLock { $0 }
        if let error { throw error }
        return bad.sorted { ($0.pack.id, $0.chunk) < ($1.pack.id, $1.chunk) }
    }

    private func check(_ pack: PackReference, _ checker: FrameChecker) throws(StoreError) -> [BadChunk] {
        if pack.holdsReferences { return try checkReferences(pack) }
        let footer = try footers.image(of: pack)
        var bad: [BadChunk] = []
        var first = 0
        while first < footer.footer.chunkCount {
            let start = footer.footer[first].frameOffset
            var end = first + 1
            while end < footer.footer.chunkCount,
                footer.footer[end].frame.upperBound - start <= UInt64(Self.window)
            {
                end += 1
            }
            let stop = footer.footer[end - 1].frame.upperBound
            let problem = try checker.readWindow(pack, start..<stop)
            for index in first..<end {
                if let problem {
                    bad.append(BadChunk(pack: pack, chunk: UInt32(index), problem: problem))
                } else if let how = try checker.problem(of: index, in: footer.footer, windowStart: start) {
                    bad.append(BadChunk(pack: pack, chunk: UInt32(index), problem: how))
                }
            }
            progress.add(bytes: stop - start)
            first = end
        }
        return bad
    }

    /// Reads every object that a pack refers to, in the version that was imported.
    private func checkReferences(_ pack: PackReference) throws(StoreError) -> [BadChunk] {
        let image = try footers.image(of: pack)
        defer { withExtendedLifetime(image) {} }
        let footer = image.footer
        let reader = ReferenceReader(footers)
        var bad: [BadChunk] = []
        var first = 0
        while first < footer.chunkCount {
            var end = first + 1
            while end < footer.chunkCount, footer[end].object == footer[first].object { end += 1 }
            do throws(StoreError) {
                try unsafe reader.read(UInt32(first)..<UInt32(end), of: pack) { entry, _ in
                    progress.add(bytes: UInt64(entry.plainLength))
                }
            } catch {
                guard error.code != .unavailable else { throw error }
                let problem: CheckReport.Problem =
                    switch error.code {
                    case .damaged, .sourceChanged: CheckReport.Problem(error)
                    default: .unreadable(error.message)
                    }
                bad += (first..<end).map { BadChunk(pack: pack, chunk: UInt32($0), problem: problem) }
            }
            first = end
        }
        return bad
    }
}
