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
        let answers = request.holdsAnswers ? request.entries.reduce(0) { $0 + Int($1.plainLength) } : 0
        let streams = request.parts.allSatisfy { $0.container.streams }
        return piece + answers + working(request.entries, streams: streams)
    }

    /// Chunks that nobody waits for.
    static func ahead(_ container: Container, _ chunks: Range<Int>) -> Int {
        guard let footer = container.footerLoader.known else { return piece }
        return piece
            + working(
                chunks.clamped(to: 0..<footer.chunkCount).lazy.map { footer[$0] }, streams: container.streams)
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

    /// A block that is filled. One frame at a time, whole with its plain bytes, or straight into the block when it `streams`;
    /// prefix frames wait, all of them.
    private static func working(_ entries: some Sequence<ChunkEntry>, streams: Bool) -> Int {
        var largest = 0
        var waiting = 0
        var bases = 0
        for entry in entries {
            let frame = entry.frameLength
            switch entry.codec {
            case .none, .reference:
                if !streams || frame <= PlainStream.threshold { largest = max(largest, frame) }
            case .zstd: largest = max(largest, frame + Int(entry.plainLength))
            case .zstdPrefix:
                largest = max(largest, frame + Int(entry.plainLength))
                waiting += frame
                bases += Int(entry.plainLength)
            }
        }
        return Block.capacity + largest + waiting + min(bases, Self.bases)
    }
}

extension Container {
    /// Whether large plain frames go into blocks piece by piece. Of a reference pack each may have a tag, for which its bytes
    /// have to be in memory.
    fileprivate var streams: Bool {
        hasDisk && footerLoader.known != nil
            && !(pack.holdsReferences && pack.layout == .slots)
    }
}
