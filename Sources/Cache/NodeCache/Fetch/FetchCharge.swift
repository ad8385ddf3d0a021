import Chunking
import DatasetStore

/// How many bytes of memory a fetch can come to hold, told before it begins.
enum FetchCharge {
    /// What a store's client hands over at a time.
    private static let piece = 128 << 10
    /// Bases of prefix frames that are held at one time, at most.
    private static let bases = 8 << 20

    /// A request whose chunks are known. Its answers may have to stay in memory until the last of them has come.
    static func of(_ request: FetchRequest) -> Int {
        let answers = request.entries.reduce(0) { $0 + Int($1.plainLength) }
        return piece + answers + working(request.entries)
    }

    /// Chunks that nobody waits for.
    static func ahead(_ container: Container, _ chunks: Range<Int>) -> Int {
        guard let footer = container.footerLoader.known else { return piece }
        return piece + working(chunks.clamped(to: 0..<footer.chunkCount).lazy.map { footer[$0] })
    }

    /// Parts whose chunks only a footer will tell.
    static func unresolved(_ parts: [FetchPart]) -> Int {
        parts.reduce(piece) { sum, part in
            switch part.wanted {
            case .chunks: sum + (2 << 20)
            // Chunks reach beyond both ends of what is wanted; all of it may be on its way twice.
            case .bytes(let bytes): sum + (2 << 20) + 2 * bytes.count
            }
        }
    }

    /// One frame at a time, in pieces or whole with its plain bytes; prefix frames wait, all of them.
    private static func working(_ entries: some Sequence<ChunkEntry>) -> Int {
        var largest = 0
        var waiting = 0
        var bases = 0
        for entry in entries {
            let frame = entry.frameLength
            switch entry.codec {
            case .none, .reference:
                largest = max(largest, frame > PlainStream.threshold ? PlainStream.threshold : frame)
            case .zstd: largest = max(largest, frame + Int(entry.plainLength))
            case .zstdPrefix:
                largest = max(largest, frame + Int(entry.plainLength))
                waiting += frame
                bases += Int(entry.plainLength)
            }
        }
        return largest + waiting + min(bases, Self.bases)
    }
}
