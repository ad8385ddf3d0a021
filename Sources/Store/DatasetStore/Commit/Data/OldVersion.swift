import Chunking
import System

/// How the parent stores a large file of the same path: its chunks are the first to be found again, and the
/// bases of those that changed.
final class OldVersion: Sendable {
    struct Run: Sendable {
        var fileOffset: UInt64
        var length: UInt64
        var pack: PackReference
        var number: UInt32
        var firstChunk: UInt32
        var chunkCount: UInt32
        var containerOffset: UInt64
    }

    /// In file order; holes are left out.
    let runs: [Run]
    let size: UInt64
    /// The same in the order of (pack number, first chunk).
    private let byPlace: [Run]

    /// Nil when the parent's entry has no chunks.
    init?(_ entry: ManifestEntry, _ catalog: ChunkCatalog) {
        var runs: [Run] = []
        switch entry.contents {
        case .chunk(let file):
            runs.append(
                Run(
                    fileOffset: 0, length: entry.size, pack: file.pack, number: catalog.number(of: file.pack),
                    firstChunk: file.chunk, chunkCount: 1, containerOffset: file.entry.containerOffset))
        case .extents(_, let extents):
            for extent in extents {
                guard let source = extent.source else { continue }
                runs.append(
                    Run(
                        fileOffset: extent.fileOffset, length: extent.length, pack: source.pack,
                        number: catalog.number(of: source.pack), firstChunk: source.firstChunk,
                        chunkCount: source.chunkCount, containerOffset: source.containerOffset))
            }
        default: break
        }
        // Bytes in foreign objects are neither reused nor bases, and reading them would be a download.
        runs.removeAll { $0.pack.holdsReferences }
        guard !runs.isEmpty else { return nil }
        self.runs = runs
        size = entry.size
        byPlace = runs.sorted { ($0.number, $0.firstChunk) < ($1.number, $1.firstChunk) }
    }

    /// Whether the old version uses this chunk.
    func contains(_ place: ChunkPlace) -> Bool {
        var low = 0
        var high = byPlace.count
        while low < high {
            let middle = (low + high) / 2
            let run = byPlace[middle]
            if (run.number, run.firstChunk) <= (place.pack, place.chunk) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low > 0 else { return false }
        let run = byPlace[low - 1]
        return run.number == place.pack && place.chunk - run.firstChunk < run.chunkCount
    }

    /// The chunk that overlaps most with a range of the file.
    func chunk(over offset: UInt64, _ length: UInt64, _ footers: PackFooters) throws(StoreError)
        -> BaseCandidate?
    {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].fileOffset + runs[middle].length <= offset {
                low = middle + 1
            } else {
                high = middle
            }
        }
        var best: (overlap: UInt64, chunk: BaseCandidate)?
        while low < runs.count, runs[low].fileOffset < offset + length {
            let run = runs[low]
            let from = max(offset, run.fileOffset) - run.fileOffset + run.containerOffset
            let to = min(offset + length, run.fileOffset + run.length) - run.fileOffset + run.containerOffset
            try footers.with(run.pack) { footer in
                var index = footer.chunk(at: from)
                while index < footer.chunkCount, footer[index].containerOffset < to {
                    let entry = footer[index]
                    let start = max(from, entry.containerOffset)
                    let end = min(to, entry.containerOffset + UInt64(entry.plainLength))
                    if end > start, end - start > best?.overlap ?? 0 {
                        best = (end - start, BaseCandidate(pack: run.pack, chunk: UInt32(index)))
                    }
                    index += 1
                }
            }
            low += 1
        }
        return best?.chunk
    }
}
