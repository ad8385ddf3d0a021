import Chunking
package import DatasetStore

/// A chunk that a job has to make present.
struct FetchClaim {
    var chunk: Int
    var entry: ChunkEntry

    /// Where its bytes lie in the pack, with the frame's header, or in the object that it refers to.
    var place: Range<UInt64> { entry.codec == .reference ? entry.objectRange : entry.frame }

    /// Bytes of its place.
    var length: Int { headerLength + Int(entry.storedLength) }

    /// Bytes before the payload.
    var headerLength: Int { entry.codec == .reference ? 0 : PackFormat.frameHeaderLength }

    /// What its frame has to begin with.
    var header: FrameHeader {
        FrameHeader(
            index: UInt32(truncatingIfNeeded: chunk), storedLength: entry.storedLength,
            plainLength: entry.plainLength, codec: entry.codec)
    }
}

/// One ranged read of a pack, or of an object that a pack refers to.
struct FetchRange {
    /// Bytes of the store's object.
    var bytes: Range<UInt64>
    var claims: ArraySlice<FetchClaim>
}

/// Joins chunks into ranged reads.
enum FetchPlan {
    /// `claims` in the order of their frames. A range takes at most `limit` stored bytes and twice as many plain
    /// ones (a single chunk may be longer), and skips over at most `gap` bytes between two frames.
    static func ranges(_ claims: [FetchClaim], limit: Int, gap: Int) -> [FetchRange] {
        var ranges: [FetchRange] = []
        var first = 0
        var plain: UInt64 = 0
        for index in claims.indices {
            let entry = claims[index].entry
            if index > first {
                let start = claims[first].place.lowerBound
                let previousEnd = claims[index - 1].place.upperBound
                let place = claims[index].place
                let fits =
                    entry.object == claims[first].entry.object && place.lowerBound >= previousEnd
                    && place.lowerBound - previousEnd <= UInt64(gap)
                    && place.upperBound - start <= UInt64(limit)
                    && plain + UInt64(entry.plainLength) <= UInt64(limit) * 2
                if !fits {
                    ranges.append(range(claims[first..<index]))
                    first = index
                    plain = 0
                }
            }
            plain += UInt64(entry.plainLength)
        }
        if first < claims.count { ranges.append(range(claims[first...])) }
        return ranges
    }

    static func range(_ claims: ArraySlice<FetchClaim>) -> FetchRange {
        guard let first = claims.first, let last = claims.last else {
            return FetchRange(bytes: 0..<0, claims: claims)
        }
        return FetchRange(bytes: first.place.lowerBound..<last.place.upperBound, claims: claims)
    }
}

extension ChunkEntry {
    /// Stored bytes with the frame's header.
    var frameLength: Int { PackFormat.frameHeaderLength + Int(storedLength) }

    /// Whether the entry may be one of this pack. Entries from a footer were checked there; one from a manifest is
    /// checked here before its offsets are used.
    func fits(_ pack: PackReference) -> Bool {
        let frameEnd = pack.objectSize - UInt64(pack.footerLength)
        let isStored = frameOffset <= frameEnd && UInt64(frameLength) <= frameEnd - frameOffset
        return plainLength > 0 && plainLength <= 4 << 20 && storedLength <= plainLength
            && (codec == .reference) == pack.holdsReferences && (codec == .reference || isStored)
            && containerOffset <= pack.containerSize
            && UInt64(plainLength) <= pack.containerSize - containerOffset
            && (pack.layout == .file || containerOffset.isMultiple(of: PackFormat.slotAlignment))
    }

    /// Equal but for what only a footer has: the base, and of a reference the object and perhaps the hash.
    package func describesSame(as other: ChunkEntry) -> Bool {
        (hash == other.hash || codec == .reference) && frameOffset == other.frameOffset
            && containerOffset == other.containerOffset
            && storedLength == other.storedLength && plainLength == other.plainLength && codec == other.codec
    }
}
