import Chunking
import ObjectStore
import System

/// A piece of a file, in order.
@safe package enum FilePiece {
    /// Valid during the call.
    case bytes(UnsafeRawBufferPointer)
    /// So many zeros that the file does not store.
    case hole(UInt64)
}

/// Reads whole files of a snapshot straight from the store, verified, in bounded memory. One a thread.
@safe package struct FileReader: ~Copyable {
    private var chunks: ChunkReader
    private var plain: UnsafeMutableRawBufferPointer

    package init(_ footers: PackFooters, bases: PlainChunkCache) {
        chunks = ChunkReader(footers, bases: bases)
        unsafe plain = .allocate(byteCount: 64 << 10, alignment: 64)
    }

    package init(_ store: Store) {
        self.init(PackFooters(store), bases: PlainChunkCache())
    }

    deinit { unsafe plain.deallocate() }

    /// Hands a file's pieces to `sink`. Other kinds of entry have none; for a hard link pass
    /// the entry that `Snapshot.resolve` gives.
    package mutating func read(
        _ entry: ManifestEntry, into sink: (FilePiece) throws(StoreError) -> Void
    ) throws(StoreError) {
        do throws(StoreError) { try readContents(entry, into: sink) } catch {
            // Only packs are read here, so what is not found is one; a sink's own errors name no object.
            let error = error.object == nil ? error : error.ofPromised
            throw error.at(path: ManifestEntry.displayPath(keyPath: entry.keyPath).description)
        }
    }

    /// A whole file of at most `limit` bytes.
    package mutating func bytes(of entry: ManifestEntry, limit: Int = 1 << 30) throws(StoreError) -> [UInt8] {
        guard entry.size <= UInt64(limit) else {
            throw StoreError(.invalidInput, "the file has \(entry.size) bytes, more than \(limit)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(entry.size))
        try read(entry) { piece throws(StoreError) in
            switch piece {
            case .bytes(let piece): unsafe bytes.append(contentsOf: piece)
            case .hole(let count): bytes.append(contentsOf: repeatElement(0, count: Int(count)))
            }
        }
        return bytes
    }

    private mutating func readContents(
        _ entry: ManifestEntry, into sink: (FilePiece) throws(StoreError) -> Void
    ) throws(StoreError) {
        switch entry.contents {
        case .directory, .empty, .symlink, .hardLink: return
        case .chunk(let file):
            let count = Int(file.entry.plainLength)
            if unsafe plain.count < count {
                unsafe plain.deallocate()
                unsafe plain = .allocate(byteCount: count, alignment: 64)
            }
            let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: plain[..<count])
            try unsafe chunks.read(file.entry, chunk: file.chunk, of: file.pack, into: buffer)
            try unsafe sink(.bytes(UnsafeRawBufferPointer(buffer)))
        case .extents(let hash, let extents):
            try readExtents(extents, hash, into: sink)
        }
    }

    private mutating func readExtents(
        _ extents: [ManifestEntry.Extent], _ expected: ContentHash,
        into sink: (FilePiece) throws(StoreError) -> Void
    ) throws(StoreError) {
        let hasher = FileHasher()
        // Holes that touch count as one, however the manifest cuts them.
        var hole: UInt64 = 0
        for extent in extents {
            guard let source = extent.source else {
                hole += extent.length
                try sink(.hole(extent.length))
                continue
            }
            if hole > 0 { hasher.addHole(hole) }
            hole = 0
            var done: UInt64 = 0
            let (end, overflow) = source.firstChunk.addingReportingOverflow(source.chunkCount)
            guard !overflow else { throw Self.damaged("an extent of the file is out of range", source.pack) }
            try unsafe chunks.readRun(source.pack, source.firstChunk..<end) {
                entry, bytes throws(StoreError) in
                guard entry.containerOffset == source.containerOffset + done else {
                    throw Self.damaged("an extent of the file is not contiguous", source.pack)
                }
                hasher.addChunk(entry.hash, UInt64(entry.plainLength))
                done += UInt64(entry.plainLength)
                try unsafe sink(.bytes(bytes))
            }
            guard done == extent.length else {
                throw Self.damaged(
                    "an extent of the file has \(done) bytes instead of \(extent.length)", source.pack)
            }
        }
        if hole > 0 { hasher.addHole(hole) }
        // What a reference records is which object it is, not what is in it.
        if extents.first?.source?.pack.holdsReferences == true { return }
        guard hasher.finish() == expected else {
            throw Self.damaged("the file's chunks are not those its hash names", nil)
        }
    }

    private static func damaged(_ what: String, _ pack: PackReference?) -> StoreError {
        StoreError(
            .damaged, what, object: pack?.key.text, remedy: "Run `kaml check` to see what else it hurts")
    }
}
