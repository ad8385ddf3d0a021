import DatasetStore

/// Where the frames of a pack begin, for those who count in stored bytes.
protocol ChunkSizes {
    var chunkCount: Int { get }
    /// Where chunk `chunk` begins in the pack, in bytes; for `chunkCount`, where the last one ends.
    func start(of chunk: Int) -> UInt64
}

extension ChunkSizes {
    /// Stored bytes of a run of chunks.
    func bytes(_ chunks: Range<Int>) -> Int {
        Int(clamping: start(of: chunks.upperBound) - start(of: chunks.lowerBound))
    }

    /// The chunk at which at least `bytes` have passed since `first` began: `first + 1` or later.
    func end(from first: Int, bytes: Int) -> Int {
        let target = start(of: first) + UInt64(max(1, bytes))
        var low = first + 1
        var high = max(low, chunkCount)
        while low < high {
            let middle = (low + high) / 2
            if start(of: middle) < target { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The chunk to begin with so that at least `bytes` end where `end` begins, or 0.
    func begin(to end: Int, bytes: Int) -> Int {
        let stop = start(of: end)
        guard stop > UInt64(bytes) else { return 0 }
        var low = 0
        var high = end
        while low < high {
            let middle = (low + high + 1) / 2
            if stop - start(of: middle) >= UInt64(bytes) { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// Cuts a run into pieces of about `limit` stored bytes.
    func pieces(_ chunks: Range<Int>, limit: Int) -> [Range<Int>] {
        var pieces: [Range<Int>] = []
        var first = chunks.lowerBound
        while first < chunks.upperBound {
            var next = min(chunks.upperBound, end(from: first, bytes: limit))
            // A piece that would be too long leaves its last chunk to the next one.
            if next > first + 1, bytes(first..<next) > limit { next -= 1 }
            pieces.append(first..<next)
            first = next
        }
        return pieces
    }
}

extension PackFooter: ChunkSizes {
    func start(of chunk: Int) -> UInt64 {
        // References lie in objects of their own; the container has them one after the other.
        if pack.holdsReferences {
            return chunk < chunkCount ? self[max(0, chunk)].containerOffset : pack.containerSize
        }
        if chunk < chunkCount { return self[max(0, chunk)].frameOffset }
        return chunkCount == 0 ? 0 : self[chunkCount - 1].frame.upperBound
    }
}
